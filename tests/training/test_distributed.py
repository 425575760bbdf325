import os
import signal
import time
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch

from amif import AmifPreTrainingArguments, AmifVqaArguments
from amif.training import distributed
from amif.training.distributed import cpu_has_bfloat16, explained_worker_deaths, only_run_in, use_free_cpu_cores


@pytest.mark.parametrize(
    ("processes", "others", "threads", "said"),
    [
        (1, 0.4, 6, "Running on the CPU with 6 threads."),
        (1, 0.6, 5, "Running on the CPU with 5 threads: other work keeps 1 of 6 cores busy."),
        (1, 7.0, 1, "Running on the CPU with 1 thread: other work keeps 5 of 6 cores busy."),
        (2, 3.0, 3, "Running on the CPU with 3 threads."),
        (4, 3.0, 1, "Running on the CPU with 1 thread."),
        (8, 7.0, 1, "Running on the CPU with 1 thread."),
    ],
)
def test_free_cores_are_shared_among_the_processes_of_a_machine(monkeypatch, caplog, processes, others, threads, said):
    given = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    monkeypatch.setattr(distributed, "_cores_of_others", lambda: others)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    with caplog.at_level("INFO"):
        assert use_free_cpu_cores() == threads
    assert given == [threads]
    assert caplog.messages == [said]


@pytest.mark.parametrize(("own", "others"), [(0.0, 1.5), (4.0, 1.1), (30.0, 0.0)])
def test_what_keeps_cores_busy_is_others_work_on_the_cores_of_this_process(monkeypatch, own, others):
    """Cores 0 and 2 are this process's; counters of all four ran for ten seconds."""
    now = {"clock": 100.0, "own": 50.0, "seconds": 0.0}
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2})
    monkeypatch.setattr(os, "times", lambda: (now["own"], 0.0, 0.0, 0.0, now["clock"]))
    monkeypatch.setattr(time, "monotonic", lambda: now["clock"])
    core = namedtuple("core", "user nice system idle iowait irq softirq steal guest guest_nice")

    def times(percpu):
        work = (9.0, 10.0, 6.0, 10.0)
        return [
            core(now["seconds"] * busy / 10, 0, 0, now["seconds"] * (10 - busy) / 10, 0, 0, 0, 0, 5, 5) for busy in work
        ]

    monkeypatch.setattr(psutil, "cpu_times", times)
    monkeypatch.setattr(distributed, "_IMPORTED", distributed._CpuTime.now())
    now.update(clock=110.0, own=50.0 + own, seconds=10.0)
    assert distributed._cores_of_others() == pytest.approx(others)


def test_an_output_folder_is_one_runs_until_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "_SECONDS_TO_DIE", 0.1)
    args = AmifVqaArguments(output_dir=str(tmp_path), use_cpu=True)
    with only_run_in(tmp_path, args):
        with pytest.raises(
            RuntimeError, match=rf"at work in the output folder {tmp_path}: wait .* another --output_dir"
        ):
            only_run_in(tmp_path).__enter__()
        monkeypatch.setattr(AmifVqaArguments, "process_index", 1)
        with only_run_in(tmp_path, args):
            """Another process of the same run."""
    with only_run_in(tmp_path):
        """It has ended."""


class Killed(torch.utils.data.Dataset):
    """Rows whose reader is killed, or fails."""

    def __init__(self, error=None):
        self.error = error

    def __len__(self):
        return 4

    def __getitem__(self, row):
        if self.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        raise self.error


def test_a_killed_reader_of_data_is_told_with_what_helps():
    with (
        pytest.raises(
            RuntimeError, match=r"^A process that reads data was killed, .*pid.* fewer --dataloader_num_work"
        ),
        explained_worker_deaths(),
    ):
        list(torch.utils.data.DataLoader(Killed(), num_workers=1))
    for error in (ValueError("row 3: no image"), RuntimeError("row 3: no image")):
        with pytest.raises(type(error), match="row 3: no image"), explained_worker_deaths():
            list(torch.utils.data.DataLoader(Killed(error), num_workers=1))


@pytest.mark.parametrize("arguments", [AmifVqaArguments, AmifPreTrainingArguments])
@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_only_where_the_cpu_has_it(monkeypatch, tmp_path, arguments, native):
    monkeypatch.setattr(distributed, "cpu_has_bfloat16", lambda: native)
    args = arguments(output_dir=str(tmp_path), bf16=True, use_cpu=True)
    assert args.bf16 == native
    assert args.mixed_precision == ("bf16" if native else "no")


def test_launcher_that_asks_for_bfloat16_gets_float32_where_the_cpu_has_none(monkeypatch, tmp_path):
    """transformers follows accelerate's variable, whatever the argument says."""
    monkeypatch.setattr(distributed, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert AmifVqaArguments(output_dir=str(tmp_path), use_cpu=True).mixed_precision == "no"


@pytest.mark.parametrize(
    ("variable", "value", "options", "said"),
    [
        ("WORLD_SIZE", "4", {}, "^No GPU can be seen on this machine, and the launcher started 4 processes"),
        ("ACCELERATE_USE_FSDP", "true", {}, "^FSDP and DeepSpeed spread a model over GPUs, and no GPU can be seen"),
        ("ACCELERATE_USE_FSDP", "true", {"use_cpu": True}, "^FSDP and DeepSpeed spread a model over GPUs, and no GPU"),
        ("ACCELERATE_USE_DEEPSPEED", "true", {}, "^FSDP and DeepSpeed spread a model over GPUs, and no GPU can be"),
        ("WORLD_SIZE", "1", {"fsdp": True}, "^FSDP and DeepSpeed spread a model over GPUs, and no GPU can be seen"),
    ],
)
def test_launched_for_gpus_where_there_are_none(monkeypatch, tmp_path, variable, value, options, said):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=said):
        AmifPreTrainingArguments(output_dir=str(tmp_path), **options)


def test_weights_that_one_process_alone_would_load_are_refused(monkeypatch, tmp_path):
    """accelerate ended in an AttributeError at the models' buffers."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    with pytest.raises(ValueError, match=r"^fsdp_cpu_ram_efficient_loading .*: set it to false"):
        AmifVqaArguments(output_dir=str(tmp_path))


def test_fsdp_is_not_given_up_in_silence_for_use_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="and the run is to use the CPU: launch without their configuration"):
        AmifVqaArguments(output_dir=str(tmp_path), use_cpu=True)


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel's list of the CPU's instructions is absent")
def test_bfloat16_is_the_cpus_own_where_the_kernel_lists_its_instructions():
    line = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), None)
    if line is None:
        pytest.skip("not an x86 CPU")
    assert cpu_has_bfloat16() == bool({"avx512_bf16", "amx_bf16"} & set(line.split()))
