"""What is left of a run to do, from which checkpoint it goes on, and what to say where its folder cannot be written."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

from safetensors import SafetensorError
from transformers import TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.utils import logging

from .checkpoint_files import checkpoints_by_age, is_closed, newest_complete_checkpoint, what_is_missing

logger = logging.get_logger(__name__)

_Arguments = TypeVar("_Arguments", bound=TrainingArguments)


@dataclass(frozen=True)
class RunPlan:
    """What a script has to do: train, or evaluate a checkpoint.

    Attributes:
        trains: Whether the model is trained.
        has_ended: Whether an earlier run trained it to the end, so that its output folder is only evaluated.
        start: The checkpoint that is trained on or evaluated; None for a new model.
        result: The checkpoint that there is in the end: what training leaves, or `start`.
    """

    trains: bool
    has_ended: bool
    start: str | None
    result: str

    def arguments_of(self, args: _Arguments) -> _Arguments:
        """The trainer's arguments: `args`, or a copy that does not ask for validation where nothing is trained."""
        if self.trains:
            return args
        evaluating = copy(args)  # `dataclasses.replace` would refuse load_best_model_at_end without validation
        evaluating.do_train, evaluating.eval_strategy = False, "no"
        return evaluating


def plan_run(args: TrainingArguments, name_or_path: str | None) -> RunPlan:
    """Say what is left to do; a resumed run whose training had ended is only evaluated.

    Args:
        args: As the command line gives them.
        name_or_path: The checkpoint to start from or to evaluate; None for a new model.
    """
    output_dir = str(args.output_dir)
    if args.do_train and resumes_newest(args.resume_from_checkpoint) and training_has_ended(args):
        logger.info(f"Training had ended: {output_dir} is evaluated.")
        return RunPlan(trains=False, has_ended=True, start=output_dir, result=output_dir)
    result = output_dir if args.do_train or name_or_path is None else name_or_path
    return RunPlan(trains=args.do_train, has_ended=False, start=name_or_path, result=result)


def resumes_newest(resume_from_checkpoint: str | bool | None) -> bool:
    """Whether `--resume_from_checkpoint` asks for the newest checkpoint: True, or "true" or nothing as text."""
    return resume_from_checkpoint is True or str(resume_from_checkpoint).lower() in ("", "true")


def training_has_ended(args: TrainingArguments) -> bool:
    """Whether the output folder holds the final model of a training run of as many epochs or steps as `args` says."""
    try:
        state = TrainerState.load_from_json(str(Path(str(args.output_dir)) / TRAINER_STATE_NAME))
    except (FileNotFoundError, TypeError, ValueError):
        return False
    if args.max_steps > 0:
        return state.max_steps == args.max_steps
    return state.num_train_epochs == math.ceil(args.num_train_epochs)


def checkpoint_to_resume(wanted: str | bool | None, output_dir: str | Path) -> str | None:
    """The checkpoint that training goes on from; None to begin anew.

    Args:
        wanted: A checkpoint's folder; or True, "true" or "" for the newest complete one of `output_dir`, if any.
        output_dir: The folder of the run.

    Raises:
        ValueError: If the named checkpoint is not complete, or none is of those that were saved to their end.
    """
    if wanted is None or wanted is False:
        return None
    if not resumes_newest(wanted):
        if missing := what_is_missing(str(wanted)):
            raise ValueError(
                f"{wanted} cannot be resumed: {missing}. Name another checkpoint, or give "
                "--resume_from_checkpoint true for the newest complete one."
            )
        return str(wanted)
    newest = newest_complete_checkpoint(output_dir)
    if newest is None:
        if damaged := [str(folder) for folder in checkpoints_by_age(output_dir) if is_closed(folder)]:
            raise ValueError(
                f"None of {', '.join(damaged)} can be resumed; the warnings above say why. Copy one again, or delete "
                "them to train from the beginning."
            )
        logger.warning(f"{output_dir} holds no complete checkpoint: training starts from the beginning.")
        return None
    logger.warning(f"Training goes on from {newest}.")
    return str(newest)


@contextmanager
def explain_failed_saving(folder: str | Path, output_dir: str | Path) -> Iterator[None]:
    """Turn an error while `folder` is written into one that says what is kept and how to go on.

    Raises:
        OSError: If torch, safetensors or the system raises one, which is its cause.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        whole = [path.name for path in checkpoints_by_age(output_dir) if is_closed(path)]
        kept = f"Kept: {', '.join(whole)}" if whole else "No complete checkpoint is kept"
        raise OSError(
            f"Saving {folder} failed: {error}. {kept}. Make room, or choose another --output_dir, and start the same "
            "command with --resume_from_checkpoint true."
        ) from error


@contextmanager
def explain_failed_resuming(checkpoint: str | None) -> Iterator[None]:
    """Turn an error while a checkpoint's optimizer, schedule or random states are read into one that says what to do.

    Raises:
        ValueError: If torch cannot read them, or they belong to another model.
    """
    try:
        yield
    except (EOFError, KeyError, RuntimeError, TypeError, UnpicklingError, ValueError) as error:
        # The first sentence alone: torch goes on to advise reading pickles that can run code.
        said = str(error).partition(". ")[0]
        raise ValueError(
            f"The optimizer, schedule or random states in {checkpoint} cannot be read ({said}): delete "
            "the checkpoint to go on from an older one, or name another with --resume_from_checkpoint."
        ) from None
