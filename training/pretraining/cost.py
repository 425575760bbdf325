"""What a training run cost."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainerState


class StepFlops:
    """Floating-point operations of the first training step, forward and backward, by torch's own counter.

    Those of matrix products, convolutions and attention, a multiplication and an addition as two; the optimizer's are
    left out. With gradient accumulation the step is one of the batches that are accumulated.
    """

    def __init__(self) -> None:
        self.first_step: int | None = None

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what runs inside, where nothing was counted yet."""
        if self.first_step is not None:
            yield
            return
        with FlopCounterMode(display=False) as counter:
            yield
        self.first_step = counter.get_total_flops()


def training_cost(
    state: TrainerState, cpu_seconds: float, studies_a_step: int, flops_a_step: int | None
) -> dict[str, float]:
    """Seconds, steps, studies and, where a step's were counted, floating-point operations of a run that has ended.

    `cpu_seconds` are those of this process's threads, which tell more than seconds on a machine that others use. Of a
    resumed run both sorts of seconds are those of its last part, while steps and studies are all. A study counts each
    time it is seen, with however many views. `flops` is the first step's times the steps: reports of other lengths, and
    a last batch that is not full, make it inexact by some percent.
    """
    seconds = [entry["train_runtime"] for entry in state.log_history if "train_runtime" in entry]
    cost = {"seconds": seconds[-1], "cpu_seconds": round(cpu_seconds, 1), "steps": state.global_step}
    cost["studies"] = state.global_step * studies_a_step
    return cost if flops_a_step is None else cost | {"flops": float(flops_a_step * state.global_step)}


def cost_in(metrics_file: Path) -> dict[str, dict[str, float]]:
    """What training cost, under "training", as the metrics file of a run tells it; nothing where it does not."""
    stored = json.loads(metrics_file.read_text(encoding="utf-8")) if metrics_file.is_file() else {}
    return {name: stored[name] for name in ("training",) if name in stored}
