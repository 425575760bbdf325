"""What goes wrong around a training run: nothing is lost, nothing passes for right, and resumed runs end the same."""

import os
import random
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import small_model
from small_runs import build_data, build_processor, trainer
from transformers import TrainerCallback

from amif.training.checkpoints.checkpoint_files import (
    CHECKPOINT_FILES_NAME,
    close_checkpoint,
    newest_complete_checkpoint,
    what_is_missing,
)

SCHEDULE = {"num_train_epochs": 3, "learning_rate": 1e-3, "warmup_steps": 0.1, "augment_images": True}
SCHEDULE |= {"save_strategy": "epoch", "save_total_limit": 2}


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_data(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def start(processor, data):
    """Builds runs that differ in their first weights, which a checkpoint must replace."""

    def build(folder, seed=0, **changes):
        return trainer(folder, processor, data, small_model(seed=seed), **SCHEDULE | changes)

    return build


@pytest.fixture(scope="module")
def whole(tmp_path_factory, start):
    """The final weights of a run that meets no fault."""
    run = start(tmp_path_factory.mktemp("whole"))
    run.train()
    return run.model.state_dict()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, start):
    """The folder of a run that was stopped after its second epoch, with two checkpoints."""
    folder = tmp_path_factory.mktemp("stopped")
    run = start(folder)
    run.add_callback(At(7, KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run.train()
    return folder


class At(TrainerCallback):
    """Raises, or calls, once before a step's optimizer."""

    def __init__(self, step, fault):
        self.step, self.fault = step, fault

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            if isinstance(self.fault, type):
                raise self.fault
            self.fault()


def assert_resumes_equal(start, folder, whole, **changes):
    run = start(folder, seed=5, **changes)
    run.train(resume_from_checkpoint=True)
    for name, value in run.model.state_dict().items():
        # A key's bias moves all scores of a row alike: its gradient is rounding alone, which Adam makes a step of.
        if not name.endswith(("k_proj.bias", "key.bias")):
            torch.testing.assert_close(value, whole[name], rtol=0, atol=1e-6, msg=name)


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = {"flipped": flip, "emptied": lambda content: b"", "cut off": lambda content: content[:-1], "gone": None}
# What an evaluation may have changed.
CHANGEABLE = {"processor_config.json"}


def test_damage_in_any_file_of_a_checkpoint_is_found(stopped):
    folder = stopped / "checkpoint-6"
    names = sorted(path.name for path in folder.iterdir())
    assert {CHECKPOINT_FILES_NAME, "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt"} < set(names)
    for name in names:
        content = (folder / name).read_bytes()
        for kind, damage in DAMAGES.items():
            (folder / name).unlink() if damage is None else (folder / name).write_bytes(damage(content))
            found = what_is_missing(folder)
            (folder / name).write_bytes(content)
            assert name in (found or ()) or name in CHANGEABLE, (name, kind, found)
        assert what_is_missing(folder) is None
    assert newest_complete_checkpoint(stopped) == folder


@pytest.mark.parametrize("name", ["optimizer.pt", "model.safetensors"])
def test_a_run_goes_on_from_before_the_damage(tmp_path, start, stopped, whole, name):
    shutil.copytree(stopped, tmp_path / "run")
    file = tmp_path / "run" / "checkpoint-6" / name
    file.write_bytes(flip(file.read_bytes()))
    assert_resumes_equal(start, tmp_path / "run", whole)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_states_that_cannot_be_read_are_no_fresh_ones(tmp_path, start, stopped, name):
    """Their hash is right, as after a save that wrote nonsense."""
    folder = Path(shutil.copytree(stopped, tmp_path / "run")) / "checkpoint-6"
    (folder / name).write_bytes(b"\0" * 100)
    close_checkpoint(folder)
    with pytest.raises(ValueError, match=r"states in .*checkpoint-6 cannot be read .*delete the checkpoint to go on"):
        start(tmp_path / "run").train(resume_from_checkpoint=str(folder))


@pytest.mark.parametrize("changes", [{}, {"logging_nan_inf_filter": True}, {"max_grad_norm": 0.0}])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, start, changes):
    run = start(tmp_path, learning_rate=1e30, warmup_steps=0, **changes)
    with pytest.raises(ValueError, match=r"Step 2: the (loss|gradient norm) is not finite, .* Lower --learning_rate"):
        run.train()
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("step", [4, 5, 6])
def test_the_step_is_named_and_the_checkpoint_before_it_kept(tmp_path, start, whole, step):
    """The gradient alone, once, in the second epoch: nothing is logged or saved until the epoch ends."""
    run = start(tmp_path, logging_steps=100)
    clip = run._clip_grad_norm
    run._clip_grad_norm = lambda model: clip(model) * (torch.inf if run.state.global_step + 1 == step else 1)
    with pytest.raises(ValueError, match=f"Step {step}: the gradient norm is not finite"):
        run.train()
    assert newest_complete_checkpoint(tmp_path).name == "checkpoint-3"
    assert not (tmp_path / "checkpoint-6").exists()
    assert_resumes_equal(start, tmp_path, whole)


def run_out_of_memory(run, step, batch=1, message="CUDA out of memory. Tried to allocate 2.00 GiB."):
    """Let the given batch of a step fail, after dropout has drawn."""
    compute, calls = run.compute_loss, []

    def failing(model, inputs, *args, **kwargs):
        loss = compute(model, inputs, *args, **kwargs)
        if model.training and run.state.global_step + 1 == step:
            calls.append(step)
            if len(calls) == batch:
                torch.rand(100), random.random(), np.random.rand()
                raise torch.OutOfMemoryError(message)
        return loss

    run.compute_loss = failing


@pytest.mark.parametrize(
    ("step", "changes"), [(2, {}), (4, {}), (4, {"save_strategy": "no"}), (5, {"save_strategy": "no"})]
)
def test_memory_that_runs_out_leaves_the_step_before(tmp_path, start, whole, step, changes):
    run = start(tmp_path, **changes)
    run_out_of_memory(run, step)
    kept = f"Kept: checkpoint-{step - 1}"
    with pytest.raises(MemoryError, match=rf"Memory ran out in step {step}: CUDA .*{kept}\. Go on with --resume"):
        run.train()
    assert_resumes_equal(start, tmp_path, whole)


def test_memory_that_runs_out_in_the_first_step_leaves_nothing(tmp_path, start):
    run = start(tmp_path)
    run_out_of_memory(run, 1)
    with pytest.raises(MemoryError, match=r"Memory ran out in step 1: .* No checkpoint was saved before\. Go on with"):
        run.train()
    assert not list(tmp_path.iterdir())


def test_memory_that_runs_out_among_accumulated_batches(tmp_path, start):
    changes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "save_strategy": "no"}
    undisturbed = start(tmp_path / "whole", **changes)
    undisturbed.train()
    run = start(tmp_path / "run", **changes)
    run_out_of_memory(run, step=5, batch=2, message="[enforce fail] DefaultCPUAllocator: can't allocate memory: 12")
    with pytest.raises(MemoryError, match=r"step 5: .*can't allocate memory: 12 Kept: checkpoint-4\."):
        run.train()
    assert_resumes_equal(start, tmp_path / "run", undisturbed.model.state_dict(), **changes)


def test_memory_that_runs_out_twice_at_one_step_saves_nothing_new(tmp_path, start, whole):
    run = start(tmp_path, save_strategy="no")
    run_out_of_memory(run, 5)
    with pytest.raises(MemoryError):
        run.train()
    again = start(tmp_path, save_strategy="no", seed=5)
    run_out_of_memory(again, 5)
    with pytest.raises(MemoryError, match=r"Kept: checkpoint-4\."):
        again.train(resume_from_checkpoint=True)
    assert_resumes_equal(start, tmp_path, whole)


def test_a_clock_that_is_set_back_loses_no_checkpoint(tmp_path, start, whole, monkeypatch):
    """By the times of files the newest checkpoint would be the oldest, and be deleted."""
    run = start(tmp_path, save_total_limit=1)
    ticks = iter(range(10**6))

    def set_back():
        for path in [*tmp_path.rglob("*"), tmp_path]:
            os.utime(path, (2e9 - 1e5 * next(ticks),) * 2)

    run.add_callback(At(6, set_back))
    run.add_callback(At(7, KeyboardInterrupt))
    monkeypatch.setattr(time, "time", lambda: 1e9 - next(ticks))
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-6"]
    monkeypatch.undo()
    assert_resumes_equal(start, tmp_path, whole)


@contextmanager
def small_disk(folder, size="64m"):
    """A file system of its own, which only the system's administrator may make; yields a function that changes it."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "amif", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room", [0, 40_000, 200_000, 700_000])
def test_a_full_disk_while_saving_leaves_the_checkpoint_before(tmp_path, start, whole, room):
    with small_disk(tmp_path / "disk") as change:
        folder = tmp_path / "disk" / "run"

        def fill():
            free = shutil.disk_usage(folder).free
            with (tmp_path / "disk" / "filler").open("wb") as file:
                file.write(b"\0" * (free - room))

        run = start(folder)
        run.add_callback(At(6, fill))
        with pytest.raises(OSError, match=r"Saving .*checkpoint-6 failed: .*Kept: checkpoint-3\. Make room, or choose"):
            run.train()
        change("size=128m")
        (tmp_path / "disk" / "filler").unlink()
        assert newest_complete_checkpoint(folder).name == "checkpoint-3"
        assert_resumes_equal(start, folder, whole)


def test_a_disk_that_becomes_read_only_leaves_the_checkpoint_before(tmp_path, start, whole):
    with small_disk(tmp_path / "disk") as change:
        folder = tmp_path / "disk" / "run"
        run = start(folder)
        run.add_callback(At(5, lambda: change("ro")))
        with pytest.raises(OSError, match=r"Saving .*checkpoint-6 failed: .*[Rr]ead-only.*Kept: checkpoint-3\."):
            run.train()
        with pytest.raises(OSError, match=r"[Rr]ead-only"):
            start(folder).train(resume_from_checkpoint=True)
        change("rw")
        assert_resumes_equal(start, folder, whole)
