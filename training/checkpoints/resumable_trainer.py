"""What every trainer here shares: checkpoints that an interrupted run can be resumed from, and nothing pickled."""

from collections.abc import Callable
from contextlib import nullcontext
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from accelerate.utils.memory import clear_device_cache
from datasets import IterableDataset
from huggingface_hub import CommitInfo
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, BestRun, HubStrategy, TrainOutput
from transformers.training_args import TrainingArguments
from transformers.utils import logging

from ..data.streams import PLACE, RowStream
from ..distributed import embeddings_kept_together
from .checkpoint_files import (
    check_saved_weights,
    checkpoints_by_age,
    close_checkpoint,
    delete_older_checkpoints,
    is_closed,
    open_checkpoint,
)
from .failing_steps import FiniteSteps, StepStart, memory_ran_out
from .interruption import StopOnSigterm
from .lora import has_lora, load_lora, refuse_adapter, save_lora
from .model_card import write_card_without_results
from .model_files import load_all_weights, refuse_infinite_weights
from .provenance import parameter_facts
from .publishing import publish_checkpoint
from .resumable_arguments import ResumableArguments
from .resumable_files import checkpoint_to_resume, explain_failed_resuming, explain_failed_saving, resumes_newest
from .run_settings import RUN_SETTINGS_NAME, RunSettings
from .stream_progress import StreamProgress, prepare_stream

logger = logging.get_logger(__name__)


class ResumableTrainer(Trainer):
    """A Trainer whose runs can be interrupted at any moment, also while they save.

    A resumed run continues from the newest complete checkpoint, with the random states, the order of the data and the
    early stopping of the uninterrupted one. Weights are safetensors; optimizer and random states are read with
    `weights_only=True`; `training_args.bin`, a pickle, is not written. A checkpoint of a model with adapters holds the
    adapters alone.

    Attributes:
        run_settings: What the weights follow from, written beside each checkpoint and compared when one is gone on
            from; None, as without a script, compares nothing.

    Args:
        model: The model to train; None where `model_init` makes it.
        args: The arguments; None takes their defaults.
        **kwargs: As for `transformers.Trainer`.

    Raises:
        TypeError: If the arguments are none of `arguments_class`.
        ValueError: If the run would push to the Hub while it trains, or spread a model with adapters over processes.
    """

    args: ResumableArguments
    model: PreTrainedModel
    arguments_class: ClassVar[type[ResumableArguments]] = ResumableArguments

    def __init__(
        self, model: PreTrainedModel | None = None, args: ResumableArguments | None = None, **kwargs: Any
    ) -> None:
        args = self.arguments_class() if args is None else args
        if not isinstance(args, self.arguments_class):
            raise TypeError(
                f"args is {type(args).__name__}: give {self.arguments_class.__name__}, which has its fields and those "
                f"of {type(self).__name__}."
            )
        if args.push_to_hub and args.hub_strategy != HubStrategy.END:
            raise ValueError("Give --hub_strategy end: with others the Trainer pushes training_args.bin, a pickle.")
        super().__init__(model=model, args=args, **kwargs)
        if model is not None:
            self.prepare_model(model)
        if has_lora(self.model) and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError("LoRA does not go with FSDP or DeepSpeed here: leave out either.")
        self.parameter_facts: dict[str, Any] = {}
        self.run_settings: RunSettings | None = None
        self._stop_on_sigterm, self._step_start = StopOnSigterm(self), StepStart()
        self.add_callback(self._stop_on_sigterm)
        self.add_callback(self._step_start)
        self._stream_progress = StreamProgress()
        if isinstance(self.train_dataset, IterableDataset):
            self._stream_progress.start(None, self.args)
            self.add_callback(self._stream_progress)
        self._finite_steps = FiniteSteps()
        self._saved_step: int | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """Train, or go on with an interrupted run.

        Args:
            resume_from_checkpoint: A checkpoint's folder; or True (as text "true" or "") for the newest complete one of
                the output folder, from the beginning where there is none.
            **kwargs: As for `transformers.Trainer.train`.

        Raises:
            ValueError: If the named checkpoint is not complete, or is of other settings than `run_settings`; or a loss
                or gradient norm is not finite, naming the step; see `FiniteSteps`.
            MemoryError: If memory runs out in a step; the one before it is saved.
        """
        checkpoint = self.checkpoint_to_go_on_from(resume_from_checkpoint)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # It says that training has ended; see `training_has_ended`.
            (Path(self.args.output_dir) / TRAINER_STATE_NAME).unlink(missing_ok=True)
            if self.run_settings is not None:
                self.run_settings.write(self.args.output_dir)
        if self.model_init is None:  # else the model is made when the Trainer trains
            self.parameter_facts = parameter_facts(self.model)
            logger.info(f"Parameters: {self.parameter_facts['parameters']}.")
        self._finite_steps, self._saved_step = FiniteSteps(), None
        if isinstance(self.train_dataset, IterableDataset):
            self._stream_progress.start(checkpoint, self.args)
        with self._stop_on_sigterm.listening():
            output = super().train(resume_from_checkpoint=checkpoint, **kwargs)
        self._finite_steps.check()
        self.state.log_history.append(self.parameter_facts)
        return output

    def checkpoint_to_go_on_from(self, resume_from_checkpoint: str | bool | None) -> str | None:
        """The checkpoint that `train` would go on from, of the same settings; None where it begins anew.

        Args:
            resume_from_checkpoint: As for `train`, and with its errors.
        """
        checkpoint = checkpoint_to_resume(resume_from_checkpoint, self.args.output_dir)
        began = resumes_newest(resume_from_checkpoint) and (Path(self.args.output_dir) / RUN_SETTINGS_NAME).is_file()
        if self.run_settings is not None and (began or checkpoint is not None):
            # Of a run that has left no checkpoint, too: it may have ended, and would be written over.
            self.run_settings.check(checkpoint or self.args.output_dir)
        return checkpoint

    def prepare_model(self, model: PreTrainedModel) -> None:
        """What a subclass does to each model that it is to train: the one given, or all that `model_init` makes."""

    def call_model_init(self, trial: Any = None) -> torch.nn.Module:
        """A new model, prepared like the one before; `trial` is that of a search over hyperparameters."""
        model = super().call_model_init(trial)
        self.prepare_model(cast(PreTrainedModel, model))
        self.parameter_facts = parameter_facts(model)
        return model

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, float]] | None = None,
        compute_objective: Callable[[dict[str, float]], float] | None = None,
        n_trials: int = 20,
        direction: str | list[str] | None = None,
        **kwargs: Any,
    ) -> BestRun | list[BestRun]:
        """As the Trainer's, which would take the sum of all metrics and minimise it, accuracy too.

        Without `compute_objective`, what makes a checkpoint best makes a trial best, in its own direction.
        """
        if compute_objective is None:
            name = (self.args.metric_for_best_model or "loss").removeprefix("eval_")
            compute_objective = itemgetter(f"eval_{name}")
            greater = self.args.greater_is_better
            direction = direction or ("minimize" if greater is False or name.endswith("loss") else "maximize")
        return super().hyperparameter_search(hp_space, compute_objective, n_trials, direction or "minimize", **kwargs)

    def recall_training(self) -> None:
        """Take over what a training that has ended in the output folder logged, for the card of its checkpoint."""
        self.state = TrainerState.load_from_json(str(Path(self.args.output_dir) / TRAINER_STATE_NAME))
        facts = [entry for entry in self.state.log_history if "parameters" in entry]
        self.parameter_facts = facts[-1] if facts else parameter_facts(self.model)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model and its processor; an error says which checkpoints are kept.

        `push_to_hub` publishes them, once there are metrics and a card.
        """
        refuse_infinite_weights(self.model, f"step {self.state.global_step}")
        if _internal_call:  # as part of a checkpoint, whose errors are explained as a whole
            super().save_model(output_dir, _internal_call=True)
            return
        with explain_failed_saving(output_dir or self.args.output_dir, self.args.output_dir):
            super().save_model(output_dir, _internal_call=True)

    def push_to_hub(
        self,
        commit_message: str = "End of training",
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> CommitInfo | None:
        """Save the model and publish it, with the metrics and the card of the output folder; nothing else of it.

        Arguments default to the Trainer's `hub_token`, `hub_revision` and `hub_private_repo`; the repository is its
        `hub_model_id`, or the output folder's name.

        Returns:
            The commit; None in all processes but the first.

        Raises:
            ConnectionError: As `publish_checkpoint`.
        """
        self.save_model()
        if not self.is_world_process_zero():
            return None
        folder = Path(self.args.output_dir)
        if not (folder / "README.md").is_file():
            write_card_without_results(folder, self)
        commit = publish_checkpoint(
            folder,
            self.args.hub_model_id or folder.resolve().name,
            private=self.args.hub_private_repo if private is None else private,
            revision=revision or self.args.hub_revision,
            token=token or self.args.hub_token,
            commit_message=commit_message,
        )
        logger.warning(f"Published: {commit.commit_url}")
        return commit

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint
        if best is not None:
            check_saved_weights(Path(best))
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        elif best is not None:
            self._load_weights(best)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_weights(resume_from_checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with explain_failed_resuming(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with explain_failed_resuming(checkpoint):
            super()._load_rng_state(checkpoint)

    def _load_weights(self, checkpoint: str) -> None:
        """Read weights through `from_pretrained`, or of a model with adapters these alone.

        Encoders are saved under other names than they have in memory. Only `from_pretrained` knows both; the Trainer's
        own loading would leave such weights as they are, with no more than a warning.
        """
        model = self.accelerator.unwrap_model(self.model)
        if has_lora(model):
            load_lora(model, checkpoint)
            refuse_infinite_weights(model, checkpoint)
            return
        refuse_adapter(checkpoint)
        model.load_state_dict(load_all_weights(type(model), checkpoint).state_dict())

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        with nullcontext() if plugin is None else embeddings_kept_together(self.model, plugin):
            return super()._prepare_for_training(*args, **kwargs)

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """As the Trainer's; where memory runs out, the step before is saved and the run ends.

        Raises:
            MemoryError: If memory runs out, unless `auto_find_batch_size` takes care of it.
        """
        said = ""
        try:
            place = inputs.pop(PLACE, None)
            loss = super().training_step(model, inputs, *args, **kwargs)
            self._stream_progress.note(place)
            self._finite_steps.note("loss", loss, self.state.global_step + 1)
            return loss
        except RuntimeError as error:
            if self.args.auto_find_batch_size or not memory_ran_out(error):
                raise
            said = str(error).partition("\n")[0]
        # Only here are the step's activations free, which the error held.
        kept = self._save_step_before()
        raise MemoryError(
            f"Memory ran out in step {self.state.global_step + 1}: {said} {kept} Go on with --resume_from_checkpoint "
            "true and --gradient_checkpointing; or train anew in another --output_dir, with half the "
            "--per_device_train_batch_size and twice the --gradient_accumulation_steps."
        )

    def _save_step_before(self) -> str:
        """Take back a step that failed, save the one before it, and say which checkpoints there are."""
        step = self.state.global_step
        # Several processes would wait for the one that has failed.
        if self.args.world_size == 1 and step not in (self._initial_global_step, self._saved_step):
            self.model.zero_grad()
            clear_device_cache(garbage_collection=True)
            self._step_start.restore(self.args.device)
            self._save_checkpoint(self.model, None)
        kept = [folder.name for folder in checkpoints_by_age(self.args.output_dir) if is_closed(folder)]
        return f"Kept: {', '.join(kept)}." if kept else "No checkpoint was saved before."

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        grad_norm = super()._get_grad_norm(model, grad_norm)
        # In float16 some gradients overflow; the scaler then leaves the step out and lowers its scale.
        if grad_norm is not None and self.accelerator.scaler is None:
            self._finite_steps.note("gradient norm", grad_norm, self.state.global_step + 1)
        return grad_norm

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        if self.control.should_log or self.control.should_evaluate or self.control.should_save:
            self._finite_steps.check()
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def set_initial_training_values(self, args: TrainingArguments, dataloader: DataLoader) -> Any:
        """As the Trainer's; a stream without end is one epoch, so that a run that has all its steps begins no other."""
        epochs, *others = super().set_initial_training_values(args, dataloader)
        return (1 if isinstance(self.train_dataset, IterableDataset) else epochs, *others)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As the Trainer's; of a stream also how often it has been read to its end."""
        if isinstance(self.train_dataset, IterableDataset) and "loss" in logs:
            logs["stream_epoch"] = self._stream_progress.epoch
        super().log(logs, *args, **kwargs)

    def _get_dataloader(self, dataset: Any, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader:
        if is_training and isinstance(dataset, RowStream):
            rows = self._stream_progress.go_on(dataset, self._train_batch_size)
            return prepare_stream(rows, self.data_collator, self.args, self.accelerator)
        # A loader that is kept for persistent workers would be taken for every data set that is evaluated later.
        kwargs.pop("dataloader_key", None)
        drop_last = self.args.dataloader_drop_last
        # The Trainer would leave out the last evaluated rows too.
        self.args.dataloader_drop_last = drop_last and is_training
        try:
            return super()._get_dataloader(dataset, *args, is_training=is_training, **kwargs)
        finally:
            self.args.dataloader_drop_last = drop_last

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = output_dir or self.args.output_dir
        if has_lora(self.model):
            if self.args.should_save:
                save_lora(self.model, folder)
            return
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            (Path(folder) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        run_folder = Path(self._get_output_dir(trial))
        folder = run_folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        refuse_infinite_weights(self.model, f"step {self.state.global_step}")
        if self.args.should_save:
            open_checkpoint(folder)
        # Older checkpoints go when this one is closed, and not by the clock.
        kept, self.args.save_total_limit = self.args.save_total_limit, None
        with explain_failed_saving(folder, run_folder):
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self.args.save_total_limit = kept
            if self.args.should_save:
                if self.run_settings is not None:
                    self.run_settings.write(folder)
                close_checkpoint(folder)
                delete_older_checkpoints(run_folder, kept, self.state.best_model_checkpoint)
        self._saved_step = self.state.global_step

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self._stream_progress.write(output_dir)
        # Next, process 0 closes the checkpoint: all others must have written theirs.
        self.accelerator.wait_for_everyone()
