"""Interrupted runs end as uninterrupted ones do, whatever they were doing when they were stopped."""

import errno
import io
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from small_models import small_model
from small_runs import build_data, build_processor, trainer
from started_scripts import python_with_amif
from transformers import EarlyStoppingCallback, HfArgumentParser, Trainer, TrainerCallback
from transformers.trainer_callback import TrainerState

from amif import AgaPreTrainingArguments, AmifPreTrainingArguments, AmifVqaArguments, MpmaPreTrainingArguments
from amif.training.checkpoints import resumable_trainer
from amif.training.checkpoints.checkpoint_files import close_checkpoint, newest_complete_checkpoint
from amif.training.checkpoints.resumable_files import training_has_ended

SCHEDULE = {"num_train_epochs": 3, "learning_rate": 1e-3, "warmup_steps": 0.1, "augment_images": True}

SCHEDULE |= {"save_strategy": "epoch", "save_total_limit": 1, "questions_per_image": 2}

CHOOSING = {"eval_strategy": "epoch", "load_best_model_at_end": True}


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_data(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, processor, data):
    """The final weights of a run that nobody interrupts, dropout and augmentation on."""
    run = trainer(tmp_path_factory.mktemp("whole"), processor, data, **SCHEDULE)
    run.train()
    return run.model.state_dict()


@pytest.mark.parametrize(
    "arguments", [AmifVqaArguments, AmifPreTrainingArguments, AgaPreTrainingArguments, MpmaPreTrainingArguments]
)
@pytest.mark.parametrize(
    ("given", "read"), [(["--resume_from_checkpoint"], "true"), (["--resume_from_checkpoint", "a"], "a"), ([], None)]
)
def test_every_trainer_takes_the_newest_checkpoint_where_none_is_named(arguments, given, read, tmp_path):
    (parsed,) = HfArgumentParser(arguments).parse_args_into_dataclasses([*given, "--output_dir", str(tmp_path)])
    assert parsed.resume_from_checkpoint == read


def assert_same_weights(model, expected):
    for name, value in model.state_dict().items():
        # A key's bias moves all scores of a row alike: its gradient is rounding alone, which Adam makes a step of.
        if not name.endswith(("k_proj.bias", "key.bias")):
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6, msg=name)


def resume(folder, processor, data, how=True):
    # Another seed of the first weights: nothing but the checkpoint may matter.
    run = trainer(folder, processor, data, small_model(seed=5), **SCHEDULE)
    run.train(resume_from_checkpoint=how)
    return run


class Killed(BaseException):
    """Stands for SIGKILL where the test goes on in the same process."""


@pytest.mark.parametrize("changes", [{"augment_images": True}, {"augment_images": False, "eval_strategy": "epoch"}])
def test_a_run_that_encodes_images_once_more_ends_the_same(tmp_path, processor, data, changes):
    """A frozen encoder's states are not in the checkpoint; making them again must draw no random number."""
    schedule = SCHEDULE | {"freeze_vision_encoder": True} | changes
    frozen = trainer(tmp_path / "whole", processor, data, **schedule)
    frozen.train()
    first = trainer(tmp_path / "cut", processor, data, **schedule)
    first.add_callback(StopAfterFirstEpoch())
    first.train()
    again = trainer(tmp_path / "cut", processor, data, small_model(seed=5), **schedule)
    again.train(resume_from_checkpoint=True)
    assert_same_weights(again.model, frozen.model.state_dict())


class StopAfterFirstEpoch(TrainerCallback):
    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop = True


def kill_at_second_call(monkeypatch, owner, name, after=False):
    function, calls = getattr(owner, name), []

    def killing(*args, **kwargs):
        calls.append(name)
        if len(calls) == 2:
            if after:
                function(*args, **kwargs)
            raise Killed
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, killing)


@pytest.mark.parametrize(
    ("owner", "name", "after", "resumed_from"),
    [
        (Trainer, "_save", True, "checkpoint-3"),
        (Trainer, "_save_optimizer_and_scheduler", True, "checkpoint-3"),
        (TrainerState, "save_to_json", False, "checkpoint-3"),
        (resumable_trainer, "close_checkpoint", False, "checkpoint-3"),
        (resumable_trainer, "close_checkpoint", True, "checkpoint-6"),
    ],
)
def test_killed_while_saving(tmp_path, processor, data, whole, monkeypatch, caplog, owner, name, after, resumed_from):
    kill_at_second_call(monkeypatch, owner, name, after)
    with pytest.raises(Killed):
        trainer(tmp_path, processor, data, **SCHEDULE).train()
    monkeypatch.undo()
    warnings = []
    monkeypatch.setattr("amif.training.checkpoints.checkpoint_files.logger.warning", warnings.append)
    assert newest_complete_checkpoint(tmp_path).name == resumed_from
    assert [Path(text.split()[0]).name for text in warnings] == (
        ["checkpoint-6"] if resumed_from == "checkpoint-3" else []
    )
    assert_same_weights(resume(tmp_path, processor, data).model, whole)


def test_killed_while_deleting_an_older_checkpoint(tmp_path, processor, data, whole, monkeypatch):
    def delete_half(folder, *args, **kwargs):
        (Path(folder) / "model.safetensors").unlink()
        raise Killed

    monkeypatch.setattr(shutil, "rmtree", delete_half)
    with pytest.raises(Killed):
        trainer(tmp_path, processor, data, **SCHEDULE).train()
    monkeypatch.undo()
    assert newest_complete_checkpoint(tmp_path).name == "checkpoint-6"
    assert_same_weights(resume(tmp_path, processor, data).model, whole)


def run_that_is_sent(send, folder, data_folder, step):
    """Run this file as a program that sends itself a signal; see the end of the file."""
    return python_with_amif().run(__file__, send, folder, data_folder, step)


def test_sigkill_in_the_middle_of_a_file(tmp_path, processor, data, whole):
    done = run_that_is_sent("SIGKILL", tmp_path, Path(data[0]["image"].filename).parent, 6)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert 0 < (tmp_path / "checkpoint-6" / "optimizer.pt").stat().st_size < 1000, "the file is cut off"
    assert_same_weights(resume(tmp_path, processor, data).model, whole)


def test_sigterm_saves_after_the_step_and_leaves(tmp_path, processor, data, whole):
    done = run_that_is_sent("SIGTERM", tmp_path, Path(data[0]["image"].filename).parent, 4)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert "checkpoint-4 saved" in done.stderr
    assert newest_complete_checkpoint(tmp_path).name == "checkpoint-4"
    assert_same_weights(resume(tmp_path, processor, data).model, whole)


class Terminate(TrainerCallback):
    """Sends SIGTERM to this process during a step."""

    def __init__(self, step):
        self.step = step

    def on_substep_end(self, args, state, control, **kwargs):
        self.on_pre_optimizer_step(args, state, control)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_at_the_end_of_an_epoch_waits_for_its_evaluation(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, **SCHEDULE | CHOOSING)
    run.add_callback(Terminate(3))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as leaving:
        run.train()
    assert leaving.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    state = TrainerState.load_from_json(str(tmp_path / "checkpoint-3" / "trainer_state.json"))
    assert "eval_accuracy" in state.log_history[-1]


def test_best_checkpoint_and_early_stopping_survive(tmp_path, processor, data, monkeypatch):
    """Accuracies fall after the first epoch; patience of 2 ends training after the third, interrupted or not."""

    def start(interrupt=None, **how):
        run = trainer(tmp_path, processor, data, **SCHEDULE | CHOOSING | {"num_train_epochs": 6})
        run.add_callback(EarlyStoppingCallback(2))
        monkeypatch.setattr(run, "_accuracy", lambda *_: {"accuracy": 90.0 - run.state.global_step})
        if interrupt:
            run.add_callback(Terminate(interrupt))
        run.train(**how)
        return run

    with pytest.raises(SystemExit):
        start(interrupt=7)
    resumed = start(resume_from_checkpoint=True)
    assert resumed.state.global_step == 9
    assert Path(resumed.state.best_model_checkpoint).name == "checkpoint-3"


def test_named_checkpoint_and_its_faults(tmp_path, processor, data, whole):
    trainer(tmp_path, processor, data, **SCHEDULE | {"save_total_limit": None}).train()
    named = tmp_path / "checkpoint-3"
    assert_same_weights(resume(tmp_path, processor, data, str(named)).model, whole)
    named = tmp_path / "checkpoint-9"
    with (named / "optimizer.pt").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"checkpoint-9 cannot be resumed: optimizer.pt is cut off.* 100 bytes"):
        resume(tmp_path, processor, data, str(named))


def test_without_a_checkpoint_the_newest_is_the_beginning(tmp_path, processor, data, whole):
    run = trainer(tmp_path, processor, data, **SCHEDULE)
    run.train(resume_from_checkpoint="true")
    assert_same_weights(run.model, whole)


def test_newest_is_the_latest_and_not_the_longest(tmp_path, processor, data):
    trainer(tmp_path, processor, data, max_steps=9, save_strategy="steps", save_steps=9).train()
    trainer(tmp_path, processor, data, max_steps=2, save_strategy="steps", save_steps=2, save_total_limit=None).train()
    assert newest_complete_checkpoint(tmp_path).name == "checkpoint-2"


def fail_with_full_disk(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_says_what_is_kept(tmp_path, processor, data, whole, monkeypatch):
    run = trainer(tmp_path, processor, data, **SCHEDULE)
    save = run._save_optimizer_and_scheduler
    monkeypatch.setattr(
        run, "_save_optimizer_and_scheduler", lambda f: save(f) if f.endswith("-3") else fail_with_full_disk()
    )
    with pytest.raises(OSError, match=r"checkpoint-6 failed: .*No space left.*Kept: checkpoint-3\. .*--resume_from"):
        run.train()
    assert_same_weights(resume(tmp_path, processor, data).model, whole)
    monkeypatch.setattr(run.model, "save_pretrained", fail_with_full_disk)
    with pytest.raises(OSError, match=r"No space left.*Kept: checkpoint-9"):
        run.save_model()


def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, num_train_epochs=1, save_strategy="epoch")
    run.train()
    name, weight = next(iter(run.model.named_parameters()))
    weight.data.view(-1)[0] = torch.nan
    with pytest.raises(ValueError, match=rf"step 3: the weight {name} is not finite.*--learning_rate"):
        run.save_model()
    with pytest.raises(ValueError, match="step 3: the weight"):
        run._save_checkpoint(run.model, None)
    assert newest_complete_checkpoint(tmp_path).name == "checkpoint-3", "the last good one stays"
    run.model.save_pretrained(tmp_path / "checkpoint-3")
    with pytest.raises(ValueError, match=r"checkpoint-3: the weight .* is not finite"):
        run._load_weights(str(tmp_path / "checkpoint-3"))


def test_nothing_pickled_but_the_trainers_own_state(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, num_train_epochs=1, save_strategy="epoch")
    run.train()
    run.save_model()
    pickles = {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    assert {path.name for path in (tmp_path / "checkpoint-3").iterdir() if path.suffix in (".pt", ".pth")} == pickles
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pkl", ".ckpt")]
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} <= {".safetensors", ".json", ".py", ".jinja"}


class Bomb:
    """Unpickled by the unwary, it leaves a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, processor, data, name):
    trainer(tmp_path, processor, data, num_train_epochs=1, save_strategy="epoch").train()
    folder, mark = tmp_path / "checkpoint-3", tmp_path / "executed"
    torch.save(Bomb(mark), folder / name)
    close_checkpoint(folder)
    run = trainer(tmp_path, processor, data, num_train_epochs=2, save_strategy="epoch")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        run.train(resume_from_checkpoint=str(folder))
    assert not mark.exists()
    torch.load(folder / name, weights_only=False)
    assert mark.exists(), "the bomb works"


def test_pushing_while_training_is_refused(tmp_path, processor, data):
    with pytest.raises(ValueError, match=r"--hub_strategy end"):
        trainer(tmp_path, processor, data, push_to_hub=True, hub_strategy="every_save", hub_token="none")


def test_training_that_has_ended_is_recognised(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, num_train_epochs=1)
    assert not training_has_ended(run.args)
    run.train()
    run.save_model()
    run.save_state()
    assert training_has_ended(run.args)
    assert not training_has_ended(trainer(tmp_path, processor, data, num_train_epochs=2).args)
    run.train()
    assert not training_has_ended(run.args), "a new training withdraws the mark"


def main(send, folder, data_folder, step):
    """Train until `step`; there SIGTERM, or SIGKILL in the middle of writing the optimizer's state."""
    if send == "SIGKILL":
        save = torch.save

        def cut_off(content, path, *args, **kwargs):
            if f"checkpoint-{step}" in str(path) and str(path).endswith("optimizer.pt"):
                buffer = io.BytesIO()
                save(content, buffer)
                Path(path).write_bytes(buffer.getvalue()[:500])
                os.kill(os.getpid(), signal.SIGKILL)
            save(content, path, *args, **kwargs)

        torch.save = cut_off
    run = trainer(Path(folder), build_processor(), build_data(Path(data_folder)), **SCHEDULE)
    if send == "SIGTERM":
        run.add_callback(Terminate(int(step)))
    run.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
