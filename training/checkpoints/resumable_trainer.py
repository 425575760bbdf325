"""What every trainer here shares: checkpoints that an interrupted run can be resumed from, and nothing pickled."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy, TrainOutput
from transformers.training_args import TrainingArguments
from transformers.utils import logging

from .interruption import StopOnSigterm
from .lora import has_lora, load_lora, refuse_adapter, save_lora
from .provenance import parameter_facts
from .publishing import PublishingTrainer
from .resumable_files import explain_failed_saving, list_checkpoint_files, newest_complete_checkpoint, what_is_missing

logger = logging.get_logger(__name__)


@dataclass
class ResumableArguments(TrainingArguments):
    """Training arguments of every trainer here."""

    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={
            "nargs": "?",
            "const": "true",
            "help": "Go on with an interrupted run: a checkpoint's folder, or true (or nothing) for the newest "
            "complete one of output_dir, else from the beginning.",
        },
    )


class CheckpointLoading(Trainer):
    """Reads weights through `from_pretrained`.

    Encoders are saved under other names than they have in memory. Only `from_pretrained` knows both; the Trainer's own
    loading would leave such weights as they are, with no more than a warning. Of a model with adapters a checkpoint
    holds the adapters alone.
    """

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        elif self.state.best_model_checkpoint is not None:
            self._load_weights(self.state.best_model_checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_weights(resume_from_checkpoint)

    def _load_weights(self, checkpoint: str) -> None:
        model = self.accelerator.unwrap_model(self.model)
        if has_lora(model):
            load_lora(model, checkpoint)
            return
        refuse_adapter(checkpoint)
        loaded = type(model).from_pretrained(checkpoint, dtype=torch.float32, use_safetensors=True)
        model.load_state_dict(loaded.state_dict())


class ResumableTrainer(CheckpointLoading, PublishingTrainer):
    """A Trainer whose runs can be interrupted at any moment, also while they save.

    A resumed run continues from the newest complete checkpoint, with the random states, the order of the data and the
    early stopping of the uninterrupted one. Weights are safetensors; optimizer and random states are read with
    `weights_only=True`; `training_args.bin`, a pickle, is not written. A checkpoint of a model with adapters holds the
    adapters alone.
    """

    def __init__(self, model: torch.nn.Module, args: TrainingArguments, **kwargs: Any) -> None:
        if args.push_to_hub and args.hub_strategy != HubStrategy.END:
            raise ValueError("Give --hub_strategy end: with others the Trainer pushes training_args.bin, a pickle.")
        super().__init__(model=model, args=args, **kwargs)
        if has_lora(model) and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError("LoRA does not go with FSDP or DeepSpeed here: leave out either.")
        self.parameter_facts: dict[str, str] = {}
        self._stop_on_sigterm = StopOnSigterm(self)
        self.add_callback(self._stop_on_sigterm)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """Train, or go on with an interrupted run.

        Args:
            resume_from_checkpoint: a checkpoint's folder; or True (as text "true" or "") for the newest complete one of
                the output folder, from the beginning where there is none.
            **kwargs: as for `transformers.Trainer.train`.

        Raises:
            ValueError: where the named checkpoint is not complete.
        """
        checkpoint = self._checkpoint_to_resume(resume_from_checkpoint)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # It says that training has ended; see `training_has_ended`.
            (Path(self.args.output_dir) / TRAINER_STATE_NAME).unlink(missing_ok=True)
        self.parameter_facts = parameter_facts(self.model)
        logger.info(f"Training {self.parameter_facts['parameters']}.")
        with self._stop_on_sigterm.listening():
            output = super().train(resume_from_checkpoint=checkpoint, **kwargs)
        self.state.log_history.append(self.parameter_facts)
        return output

    def recall_training(self) -> None:
        """Take over what a training that has ended in the output folder logged, for the card of its checkpoint."""
        self.state = TrainerState.load_from_json(str(Path(self.args.output_dir) / TRAINER_STATE_NAME))
        facts = [entry for entry in self.state.log_history if "parameters" in entry]
        self.parameter_facts = facts[-1] if facts else parameter_facts(self.model)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model and its processor; an error says which checkpoints are kept."""
        if _internal_call:  # as part of a checkpoint, whose errors are explained as a whole
            super().save_model(output_dir, _internal_call)
            return
        with explain_failed_saving(output_dir or self.args.output_dir, self.args.output_dir):
            super().save_model(output_dir)

    def _get_dataloader(self, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader:
        drop_last = self.args.dataloader_drop_last
        # The Trainer would leave out the last evaluated rows too.
        self.args.dataloader_drop_last = drop_last and is_training
        try:
            return super()._get_dataloader(*args, is_training=is_training, **kwargs)
        finally:
            self.args.dataloader_drop_last = drop_last

    def _checkpoint_to_resume(self, wanted: str | bool | None) -> str | None:
        if wanted is None or wanted is False:
            return None
        if not resumes_newest(wanted):
            if missing := what_is_missing(wanted):
                raise ValueError(
                    f"{wanted} cannot be resumed: {missing}. Name another checkpoint, or give "
                    "--resume_from_checkpoint true for the newest complete one."
                )
            return str(wanted)
        newest = newest_complete_checkpoint(self.args.output_dir)
        if newest is None:
            logger.warning(f"{self.args.output_dir} holds no complete checkpoint: training starts from the beginning.")
            return None
        logger.warning(f"Training goes on from {newest}.")
        return str(newest)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if has_lora(self.model):
            if self.args.should_save:
                save_lora(self.model, output_dir or self.args.output_dir)
            return
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            (Path(output_dir or self.args.output_dir) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        run_folder = Path(self._get_output_dir(trial))
        folder = run_folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            # An earlier checkpoint of this name must not pass for complete while it is written over.
            (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)
        with explain_failed_saving(folder, run_folder):
            super()._save_checkpoint(model, trial)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # Next, process 0 closes the checkpoint with the Trainer's state: all others must have written theirs.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            list_checkpoint_files(output_dir)


def resumes_newest(resume_from_checkpoint: str | bool | None) -> bool:
    """Whether `--resume_from_checkpoint` asks for the newest checkpoint: True, or "true" or nothing as text."""
    return resume_from_checkpoint is True or str(resume_from_checkpoint).lower() in ("", "true")


def training_has_ended(args: TrainingArguments) -> bool:
    """Whether the output folder holds the final model of a training run of as many epochs or steps as `args` says."""
    try:
        state = TrainerState.load_from_json(str(Path(args.output_dir) / TRAINER_STATE_NAME))
    except (FileNotFoundError, ValueError):
        return False
    if args.max_steps > 0:
        return state.max_steps == args.max_steps
    return state.num_train_epochs == math.ceil(args.num_train_epochs)
