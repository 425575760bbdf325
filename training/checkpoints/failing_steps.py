"""Training steps that fail: a loss or gradient that is not finite, a batch for which memory does not suffice."""

import random
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class FiniteSteps:
    """Remembers in which step a loss or a gradient was first not finite.

    `note` runs in every step and leaves its result on the device, where nothing waits for it. `check` reads it and
    therefore waits; it is for moments that wait anyway: before a loss is logged, before an evaluation, before every
    save, and when training ends. So no weights of such a step are saved, and none are chosen.
    """

    def __init__(self) -> None:
        self._first: dict[str, torch.Tensor] = {}

    def note(self, what: str, value: torch.Tensor | float, step: int) -> None:
        """Look at a value of a step, counted from 1."""
        value = value.full_tensor() if isinstance(value, DTensor) else torch.as_tensor(value)
        first = self._first.setdefault(what, torch.zeros((), dtype=torch.long, device=value.device))
        self._first[what] = torch.where((first == 0) & ~torch.isfinite(value.detach()), step, first)

    def check(self) -> None:
        """Stop where a value was not finite.

        Raises:
            ValueError: If one was; it names the first such step.
        """
        steps = {what: int(first) for what, first in self._first.items() if int(first)}
        if not steps:
            return
        what = min(steps, key=lambda name: steps[name])  # of one step the loss, which is noted first
        raise ValueError(
            f"Step {steps[what]}: the {what} is not finite, so training stops and nothing more is saved. Lower "
            "--learning_rate or --max_grad_norm and train again; with --fp16, try --bf16. Checkpoints of earlier steps "
            "are kept."
        )


class StepStart(TrainerCallback):
    """Keeps the random states from before a step, so that one that fails can be taken back and made again.

    They are those which a checkpoint of the step before would hold: of an epoch's first step from before its data is
    shuffled, and of any other from when its batches have been read, as the Trainer restores them.
    """

    def __init__(self) -> None:
        self._states: tuple[Any, ...] = ()

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep the states of an epoch's first step."""
        self._keep(args.device)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep the states of any other step."""
        if not float(state.epoch or 0).is_integer():
            self._keep(args.device)

    def restore(self, device: torch.device) -> None:
        """Set the random states back."""
        python, numpy, cpu, own = self._states
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if own is not None:
            torch.get_device_module(device).set_rng_state(own, device)

    def _keep(self, device: torch.device) -> None:
        own = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
        self._states = (random.getstate(), np.random.get_state(), torch.get_rng_state(), own)


def memory_ran_out(error: Exception) -> bool:
    """Whether an error says that a device or the machine has no memory left."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "can't allocate memory" in said
