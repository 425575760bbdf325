"""Which questions a run trains on and which it evaluates, and that a checkpoint is never chosen by what it has seen."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from datasets import Dataset, DatasetDict, IterableDataset, concatenate_datasets
from transformers.utils import logging

from ...modeling_amif.input_checks_amif import position_limit
from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from ...processing_amif import AmifProcessor
from ..checkpoints.stream_progress import go_without_validation
from ..data import load_questions
from ..data.answer_lengths import answer_lengths, check_answer_lengths
from ..data.mixtures import (
    add_training_sets,
    count_rows,
    first_rows,
    leave_out_images_of_other_sets,
    leave_out_shown_images,
    with_set_name,
)
from ..data.readers.streamed_questions import load_streamed_questions
from ..data.references import normal_form
from ..data.splits import evaluated_split
from .answer_checks import check_training_answers
from .arguments import FineTuningDataArguments
from .training_arguments import AmifVqaArguments

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class RunData:
    """The questions of a run.

    Attributes:
        name: The data set, or the file of questions that stands in for it.
        splits: Training, validation and test questions as far as there are such; of each the first alone, if asked for.
        training: The rows to train on, those of further data sets included, or a stream of them, of which the training
            split then holds the texts alone; None where nothing is trained.
        eval_split: The split that is evaluated.
    """

    name: str
    splits: DatasetDict
    training: Dataset | IterableDataset | None
    eval_split: str


def load_run_data(data_args: FineTuningDataArguments, training_args: AmifVqaArguments, training: bool) -> RunData:
    """Read what a run trains on and evaluates.

    Args:
        data_args: The arguments of data.
        training_args: The trainer's arguments, which `--refit` must go with.
        training: Whether the run trains.

    Raises:
        ValueError: If the data lack what the arguments ask for.
    """
    if data_args.streaming:
        return load_streamed_data(data_args, training_args)
    whole = load_splits(data_args, training)
    name = (data_args.predict_file if whole.keys() == {"test"} else None) or data_args.name
    splits = limit_samples(whole, data_args)
    if data_args.refit:
        splits, whole = (refit_splits(part, data_args, training_args) for part in (splits, whole))
    _check_threshold_rows(splits, data_args)
    eval_split = evaluated_split(splits, data_args.eval_split, name)
    for split, rows in splits.items():
        logger.info(f"{name} {split}: {count_rows(rows)} questions, {len(set(rows['image_id']))} images")
    if not training:
        return RunData(name, splits, None, eval_split)
    check_training_answers(splits["train"])
    return RunData(name, splits, training_rows(splits["train"], whole, data_args), eval_split)


def load_streamed_data(data_args: FineTuningDataArguments, training_args: AmifVqaArguments) -> RunData:
    """The same of a stream: what is trained on are its rows, and the training split holds their texts alone."""
    name = data_args.name
    training, splits = load_streamed_questions(
        name,
        on_bad_row=data_args.on_bad_row,
        max_eval_samples=data_args.max_eval_samples,
        **cast(dict[str, Any], data_args.column_names),
    )
    go_without_validation(training_args, splits)
    _check_threshold_rows(splits, data_args)
    eval_split = evaluated_split(splits, data_args.eval_split, name)
    for split, rows in splits.items():
        logger.info(f"{name} {split}: {len(rows)} questions")
    check_training_answers(splits["train"])
    return RunData(name, splits, training if training_args.do_train else None, eval_split)


def _check_threshold_rows(splits: DatasetDict, data_args: FineTuningDataArguments) -> None:
    if data_args.abstention_error_rate is not None and "validation" not in splits:
        raise ValueError("--abstention_error_rate chooses a threshold on the validation split, and there is none.")


def with_new_questions(data: RunData, data_args: FineTuningDataArguments) -> RunData:
    """The questions of `predict_file` in place of the test split; `data` itself without them, or where it is these."""
    if data_args.predict_file is None or data.splits.keys() == {"test"}:
        return data
    questions = load_questions(data_args.predict_file, **data_args.question_options)
    questions = first_rows(questions, data_args.max_eval_samples)
    splits = DatasetDict(data.splits | {"test": questions})
    return replace(data, name=data_args.predict_file, splits=splits, eval_split="test")


def with_readable_answers(
    data: RunData,
    model: AmifForVisualQuestionAnswering,
    processor: AmifProcessor,
    on_bad_row: str,
    max_length: int | None = None,
) -> RunData:
    """The rows whose answers and choices, which are learned from and ranked, the model's decoder has positions for.

    Where `max_length` or training answers say how long answers are, the model keeps that as what it generates at most.

    Args:
        data: The questions of a run.
        model: What answers them.
        processor: Its processor.
        on_bad_row: As for `check_answer_lengths`.
        max_length: Leave out those with more tokens than so many too, [CLS] and [SEP] included.

    Raises:
        ValueError: If an answer is longer and rows are not skipped.
    """
    limits = [limit for limit in (position_limit(model.decoder), max_length) if limit is not None]
    limit = min(limits, default=sys.maxsize)
    splits = {str(name): rows for name, rows in data.splits.items()}
    training = data.training

    def short(row: Mapping[str, Any]) -> bool:
        """Whether the answer, normalised, has at most `limit` tokens; rows without one stay, and are left out later."""
        form = normal_form(row["answer"])
        return not form or answer_lengths([form], processor.encode_answers)[form] <= limit

    kept = check_answer_lengths(splits, processor.encode_answers, limit, on_bad_row)
    if isinstance(training, IterableDataset) and len(kept["train"]) < len(splits["train"]):
        training = training.filter(short)
    if training is not None and training is data.splits["train"]:
        training = kept["train"]
    elif training is not None and not isinstance(training, IterableDataset):
        training = check_answer_lengths({"training": training}, processor.encode_answers, limit, on_bad_row)["training"]
    longest = None if max_length is None else limit
    if data.training is not None and max_length is None:
        forms = filter(None, map(normal_form, kept["train"]["answer"]))
        longest = max(answer_lengths(forms, processor.encode_answers).values(), default=None)
    if longest is not None:
        model.generation_config.max_new_tokens = longest - 1  # [CLS] is given
    return replace(data, splits=kept, training=training)


def load_splits(data_args: FineTuningDataArguments, training: bool) -> DatasetDict:
    """The splits of the data set; or, where new questions are only to be answered, these alone."""
    if data_args.predict_file is not None and not training and data_args.abstention_error_rate is None:
        return DatasetDict({"test": load_questions(data_args.predict_file, **data_args.question_options)})
    splits = data_args.load_splits()
    if training and "train" not in splits:
        raise ValueError(
            f"{data_args.name} has no training questions, but {', '.join(map(str, splits))}: a file is of the "
            "split that its name begins with, so rename it, or give --do_train false."
        )
    return splits


def limit_samples(splits: DatasetDict, data_args: FineTuningDataArguments) -> DatasetDict:
    """The first rows of each split and set, as many as `max_train_samples` and `max_eval_samples` say."""
    limits = {"train": data_args.max_train_samples}
    return DatasetDict(
        {name: first_rows(rows, limits.get(str(name), data_args.max_eval_samples)) for name, rows in splits.items()}
    )


def refit_splits(
    splits: DatasetDict, data_args: FineTuningDataArguments, training_args: AmifVqaArguments
) -> DatasetDict:
    """Training and validation questions as one training split, beside the test split."""
    if training_args.eval_strategy != "no" or training_args.load_best_model_at_end:
        raise ValueError(
            "--refit trains on validation, so nothing can be chosen there: add --eval_strategy no and "
            "--load_best_model_at_end false."
        )
    if data_args.eval_split == "validation" or not {"validation", "test"} <= splits.keys():
        raise ValueError("--refit takes a data set with a validation and a test split, and evaluates on test.")
    if data_args.abstention_error_rate is not None:
        raise ValueError(
            "--abstention_error_rate chooses a threshold on validation, which --refit trains on: drop one."
        )
    training = concatenate_datasets([splits["train"], splits["validation"]])
    return DatasetDict({"train": training, "test": splits["test"]})


def training_rows(rows: Dataset, splits: DatasetDict, data_args: FineTuningDataArguments) -> Dataset:
    """The questions to train on: `rows`, and what further arguments add to them or leave out.

    Args:
        rows: Of the training split, perhaps the first alone.
        splits: The data set whole: what is added may show no image that any of its questions is evaluated on.
        data_args: The arguments.

    Raises:
        ValueError: If none is left.
    """
    if len(data_args.data_sets) > 1:
        rows = leave_out_images_of_other_sets(rows, splits)
    elif data_args.mixing != "proportional":
        rows = with_set_name(rows, data_args.data_sets[0].name)
    if data_args.also_train_on is not None:
        rows = add_training_sets(DatasetDict(splits | {"train": rows}), data_args.also_train_on)
        logger.info(f"{data_args.name} and further sets: {len(rows)} training questions")
    if data_args.train_question_types is not None:
        rows = of_question_types(rows, data_args.train_question_types)
        logger.info(f"Of types {', '.join(data_args.train_question_types)}: {len(rows)} training questions")
    if data_args.leave_out_images_of:
        rows = leave_out_shown_images(rows, data_args.leave_out_images_of)
    if not len(rows):
        raise ValueError(
            f"{data_args.name}: no training question is left, for validation or test shows the image of each (see the "
            "counts above): train on other data."
        )
    return rows


def reads_validation(data_args: FineTuningDataArguments, training: bool, eval_split: str) -> bool:
    """Whether validation says which checkpoint is best, which threshold to set, or how good a checkpoint is."""
    evaluated = eval_split == "validation" and data_args.predict_file is None
    return training or evaluated or data_args.abstention_error_rate is not None


def note_validation(
    model: AmifForVisualQuestionAnswering, data_args: FineTuningDataArguments, training: bool, eval_split: str
) -> None:
    """Keep in the checkpoint which validation questions it was not trained on, and refuse to choose by others later."""
    names, config = [source.dataset for source in data_args.data_sets], model.config
    refit_on, known = getattr(config, "refit_on", []), getattr(config, "validation_by", {})
    further = data_args.also_train_on if training else None
    used = {source.partition("=")[0]: "image" for source in further or ()}
    used |= dict.fromkeys(names, data_args.validation_made_by)
    if not data_args.refit and reads_validation(data_args, training, eval_split):
        if known_too_well := [name for name in names if name in refit_on]:
            raise ValueError(
                f"This checkpoint was trained on {known_too_well[0]}'s validation questions too (--refit): they say "
                "nothing of it any more. Evaluate it on test, or start from another checkpoint."
            )
        for other, by in used.items():
            if known.get(other, by) != by:
                raise ValueError(
                    f"This checkpoint was trained on {other} with --validation_by {known[other]}: with {by}, training "
                    f"and validation of {other} may share questions. Give --validation_by {known[other]}, start from "
                    f"another checkpoint, or leave {other} out of --also_train_on."
                )
    if training:
        config.validation_by = known | used
    if data_args.refit:
        config.refit_on = sorted({*refit_on, *names})


def of_question_types(rows: Dataset, types: Collection[str]) -> Dataset:
    """The rows whose `question_type` is one of `types`, in their order.

    Args:
        rows: Rows of the schema.
        types: Question types as the data set spells them.

    Raises:
        ValueError: If no row has one of the types.
    """
    column = rows["question_type"]
    known = {kind for kind in column if kind is not None}
    if missing := [kind for kind in types if kind not in known]:
        there = ", ".join(sorted(known)) or "none"
        raise ValueError(f"No training question is of type {', '.join(missing)}. Types of this data set: {there}.")
    return rows.select([row for row, kind in enumerate(column) if kind in types])
