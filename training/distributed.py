"""What a run must know about its machine and its sibling processes."""

import os

import torch


def use_all_cpu_cores() -> int:
    """Give torch this process's share of the CPU's cores, and return how many threads that is.

    `accelerate launch` sets OMP_NUM_THREADS=1, which would leave all cores but one idle.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    torch.set_num_threads(threads)
    return threads
