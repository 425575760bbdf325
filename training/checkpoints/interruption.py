"""SIGTERM, as schedulers send it, ends a training run after one more checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

logger = logging.get_logger(__name__)


class StopOnSigterm(TrainerCallback):
    """Saves a checkpoint after the step in which SIGTERM came, and leaves with `SystemExit(143)`.

    transformers' `enable_jit_checkpoint` saves before the optimizer steps but after dropout has drawn, so that a
    resumed run drifts from the uninterrupted one; and it ends as a finished run does, which deletes that checkpoint
    where `save_total_limit` is 1.

    Args:
        trainer: The trainer to interrupt; its accelerator lets all processes stop at the same step.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.asked = self.stopping = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM over for as long as training runs; only the main thread of a process may."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.asked = self.stopping = False
        earlier = signal.signal(signal.SIGTERM, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, earlier)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for a checkpoint, but not after an epoch's last step, which evaluation follows before it is saved."""
        self.stopping = self.asked
        if args.world_size > 1:
            asked = torch.tensor(float(self.asked), device=args.device)
            self.stopping = bool(torch.as_tensor(self.trainer.accelerator.reduce(asked, reduction="sum")) > 0)
        if self.stopping and not float(state.epoch).is_integer():
            control.should_save = True

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for a checkpoint."""
        if self.stopping:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Leave, once the checkpoint is complete."""
        if not self.stopping:
            return
        self.trainer.accelerator.wait_for_everyone()
        logger.warning(f"SIGTERM: checkpoint-{state.global_step} saved; go on with --resume_from_checkpoint true.")
        raise SystemExit(128 + signal.SIGTERM)

    def _note(self, *_: Any) -> None:
        self.asked = True
