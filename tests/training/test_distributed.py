import os
from pathlib import Path

import pytest
import torch

from amif import AmifPreTrainingArguments, AmifVqaArguments
from amif.training import distributed
from amif.training.distributed import cpu_has_bfloat16, use_all_cpu_cores


@pytest.mark.parametrize(("processes", "threads"), [(1, 6), (2, 3), (4, 1), (8, 1)])
def test_cores_are_shared_among_the_processes_of_a_machine(monkeypatch, processes, threads):
    given = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert use_all_cpu_cores() == threads
    assert given == [threads]


@pytest.mark.parametrize("arguments", [AmifVqaArguments, AmifPreTrainingArguments])
@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_only_where_the_cpu_has_it(monkeypatch, tmp_path, arguments, native):
    monkeypatch.setattr(distributed, "cpu_has_bfloat16", lambda: native)
    args = arguments(output_dir=str(tmp_path), bf16=True, use_cpu=True)
    assert args.bf16 == native
    assert args.mixed_precision == ("bf16" if native else "no")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel's list of the CPU's instructions is absent")
def test_bfloat16_is_the_cpus_own_where_the_kernel_lists_its_instructions():
    line = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), None)
    if line is None:
        pytest.skip("not an x86 CPU")
    assert cpu_has_bfloat16() == bool({"avx512_bf16", "amx_bf16"} & set(line.split()))
