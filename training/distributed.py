"""What a run must know about its machine and its sibling processes."""

import ctypes
import logging
import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import psutil
import torch
import torch.distributed.nn.functional
from accelerate import FullyShardedDataParallelPlugin
from filelock import FileLock, Timeout
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel, TrainingArguments, set_seed

logger = logging.getLogger(__name__)

LOCK_NAME = "run.lock"

# The workers of a run that was killed may hold its lock until they notice.
_SECONDS_TO_DIE = 6.0

# Loaded here, since little may be done between fork and exec.
_LIBC = ctypes.CDLL(None) if platform.system() == "Linux" else None
_PR_SET_PDEATHSIG = 1

# The kernel counts in hundredths: less than this says little of how busy cores are.
_SECONDS_OF_LOAD = 0.3


class _CpuTime(NamedTuple):
    """Seconds on the clock, of this process's cores that were at work, and of this process and its children."""

    clock: float
    busy: float
    own: float

    @classmethod
    def now(cls) -> Self:
        times = psutil.cpu_times(percpu=True)
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(times))
        idle = [core.idle + getattr(core, "iowait", 0.0) for core in times]
        busy = sum(sum(times[core][:8]) - idle[core] for core in allowed)
        return cls(time.monotonic(), busy, sum(os.times()[:4]))


_IMPORTED = _CpuTime.now()


def start_process(args: TrainingArguments) -> None:
    """Begin a script: the first process tells what it does, the others only warn; threads of a CPU run; the seed."""
    logging.basicConfig(level=logging.INFO if args.process_index == 0 else logging.WARNING, format="%(message)s")
    # Of the root logger itself, by which open_clip tells each of its steps; others have names.
    logging.root.addFilter(lambda record: record.levelno >= logging.WARNING)
    if args.use_cpu:
        use_free_cpu_cores()
    set_seed(args.seed)


@contextmanager
def only_run_in(folder: str | Path, args: TrainingArguments | None = None) -> Iterator[None]:
    """Keep other runs out of an output folder, whose records they would mix, for as long as this one lasts.

    The lock is the system's, so that a run that is killed leaves none behind.

    Args:
        folder: It exists.
        args: Of a run that may have several processes, of which the first holds the lock; None is one process.

    Raises:
        RuntimeError: If another run is at work there.
    """
    if args is not None and args.process_index != 0:
        yield
        return
    lock = FileLock(Path(folder) / LOCK_NAME)
    try:
        held = lock.acquire(timeout=_SECONDS_TO_DIE)
    except Timeout:
        raise RuntimeError(
            f"Another run is at work in the output folder {folder}: wait until it has ended or stop it, or give "
            "another --output_dir."
        ) from None
    with held:
        yield


@contextmanager
def explained_worker_deaths() -> Iterator[None]:
    """Say what helps where a process that reads data was killed, which torch tells by its number alone.

    Raises:
        RuntimeError: If one was.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise RuntimeError(
            f"A process that reads data was killed, most often because memory ran out ({error}). Checkpoints and "
            "answers so far are kept: start the same command with --resume_from_checkpoint true and fewer "
            "--dataloader_num_workers; 0 reads in the main process."
        ) from error


def die_with(parent: int) -> None:
    """End this process at once when its parent ends, killed or not; where only Linux can do that, elsewhere nothing.

    Args:
        parent: The process id of the one that started this one.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # which has ended in the meantime
        os.kill(os.getpid(), signal.SIGKILL)


def use_free_cpu_cores() -> int:
    """Give torch this process's share of the cores that other work leaves free, and return how many threads that is.

    Threads that multiply a matrix wait for each other, so that one core shared with other work slows all of them.
    `accelerate launch` sets OMP_NUM_THREADS=1, which would leave all cores but one idle.
    """
    cores, processes = available_cores(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # Of several processes each would take the others' work for that of strangers.
    busy = min(round(_cores_of_others()), cores - 1) if processes == 1 else 0
    threads = max(1, (cores - busy) // processes)
    torch.set_num_threads(threads)
    why = f": other work keeps {busy} of {cores} cores busy" if busy else ""
    logger.info(f"Running on the CPU with {threads} thread{'s' if threads > 1 else ''}{why}.")
    return threads


def _cores_of_others() -> float:
    """How many of this process's cores others have kept busy since this module was imported."""
    time.sleep(max(0.0, _IMPORTED.clock + _SECONDS_OF_LOAD - time.monotonic()))
    now = _CpuTime.now()
    return max(0.0, (now.busy - _IMPORTED.busy) - (now.own - _IMPORTED.own)) / (now.clock - _IMPORTED.clock)


def available_cores() -> int:
    """How many cores this process may use; on systems that do not say so, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device_and_precision(args: TrainingArguments) -> None:
    """Without an accelerator run on the CPU, and on a CPU that only emulates bfloat16 in float32, with a warning.

    For `__post_init__`, before the Trainer's own, which refuses bf16 on a CPU that it was not told to use, and waits
    for the other processes.

    Raises:
        ValueError: If a launcher started several processes, there is no accelerator, and `use_cpu` is not given: on the
            CPU they would share its cores and take hours. If FSDP or DeepSpeed is to run on the CPU, where accelerate
            would give each process the whole model without a word. If FSDP is to load weights on one process alone.
    """
    seen = torch.accelerator.is_available()
    spread = args.fsdp or args.deepspeed
    spread = spread or "true" in (os.environ.get("ACCELERATE_USE_FSDP"), os.environ.get("ACCELERATE_USE_DEEPSPEED"))
    if spread and (args.use_cpu or not seen):
        why = "the run is to use the CPU" if seen else "no GPU can be seen on this machine"
        raise ValueError(f"FSDP and DeepSpeed spread a model over GPUs, and {why}: launch without their configuration.")
    if spread and os.environ.get("FSDP_CPU_RAM_EFFICIENT_LOADING") == "true":
        raise ValueError(
            "fsdp_cpu_ram_efficient_loading cannot hand on the buffers of these models: set it to false in the "
            "launcher's configuration, as examples/accelerate_configs/fsdp.yaml does."
        )
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1 and not args.use_cpu and not seen:
        raise ValueError(
            f"No GPU can be seen on this machine, and the launcher started {processes} processes for as many. Start "
            "one with python, or several on the CPU with torchrun --nproc_per_node N SCRIPT --use_cpu."
        )
    args.use_cpu = args.use_cpu or not seen
    # accelerate's launcher asks in its own way, which transformers follows whatever `bf16` says.
    asked = args.bf16 or os.environ.get("ACCELERATE_MIXED_PRECISION") == "bf16"
    if args.use_cpu and asked and not cpu_has_bfloat16():
        logger.warning("This CPU only emulates bfloat16, which is slower than float32: float32 it is.")
        args.bf16 = False
        os.environ.pop("ACCELERATE_MIXED_PRECISION", None)


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices by instructions of its own."""
    if platform.machine() in ("x86_64", "AMD64"):
        # oneDNN calls bfloat16 supported on any AVX-512, and emulates it where neither of these is there.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def gather_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Rows of all processes in the order of their ranks, (world size x n, ...); gradients flow back to each of them.

    Every process must bring equally many rows. With one process the tensor itself is returned.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return tensor
    return torch.cat(torch.distributed.nn.functional.all_gather(tensor.contiguous()))


@contextmanager
def embeddings_kept_together(model: PreTrainedModel, plugin: FullyShardedDataParallelPlugin) -> Iterator[None]:
    """Let accelerate spread a model by FSDP 2 in which embeddings lie in layers, or share weights, as BERT's do.

    It makes groups of the layers that transformers keeps whole, BERT's embeddings among them, then one of the input
    embeddings and one of the output layer; a weight that two groups hold is an error. Here all embeddings stay in the
    group of what no layer holds. Prepare the model within.

    Args:
        model: A model of transformers, not spread yet.
        plugin: How accelerate is to spread it; layers that it names itself are left as they are.
    """
    if plugin.transformer_cls_names_to_wrap is None:
        whole = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
        embedding = {type(module) for module in whole for part in module.modules() if isinstance(part, nn.Embedding)}
        names = {type(module).__name__ for module in whole if type(module) not in embedding}
        plugin.transformer_cls_names_to_wrap = sorted(names)
    hidden = {"get_input_embeddings": lambda: None, "get_output_embeddings": lambda: None}
    vars(model).update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del vars(model)[name]


@contextmanager
def unsharded(model: torch.nn.Module) -> Iterator[None]:
    """Keep the weights of a model that FSDP 2 spread over processes whole, for as long as it is evaluated.

    FSDP gathers weights around `forward`, and answers come from other methods; whole, each process may also answer as
    many questions as it likes without waiting for the others. Needs a forward of the whole model before, as
    training makes it. Changes nothing in other models.
    """
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for shard in shards:
        shard.set_reshard_after_forward(False, recurse=False)
        shard.unshard()
    try:
        yield
    finally:
        for shard in shards:
            shard.reshard()
            shard.set_reshard_after_forward(True, recurse=False)
