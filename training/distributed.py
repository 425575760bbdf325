"""What a run must know about its machine and its sibling processes."""

import os

import torch
import torch.distributed.nn.functional


def use_all_cpu_cores() -> int:
    """Give torch this process's share of the CPU's cores, and return how many threads that is.

    `accelerate launch` sets OMP_NUM_THREADS=1, which would leave all cores but one idle.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    torch.set_num_threads(threads)
    return threads


def gather_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Rows of all processes in the order of their ranks, (world size x n, ...); gradients flow back to each of them.

    Every process must bring equally many rows. With one process the tensor itself is returned.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return tensor
    return torch.cat(torch.distributed.nn.functional.all_gather(tensor.contiguous()))
