"""Validation splits made by image, or by another column: rows of one value all go to the same side."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping

from datasets import Dataset, DatasetDict
from transformers.utils import logging

from .names import NUM_FOLDS

logger = logging.get_logger(__name__)

VALIDATION_FRACTION = 0.15


def split_by_image(dataset: Dataset, fraction: float, seed: int, column: str = "image_id") -> tuple[Dataset, Dataset]:
    """Part `dataset` into (train, validation) that share no value of `column`; rows keep their order.

    Images are ordered by a hash of (seed, image id), whatever the order of the file; they go to validation until it
    holds `fraction` of the questions. Where images are added, the last ones may change sides.

    Raises:
        ValueError: If `fraction` is not between 0 and 1 or there are fewer than two images.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}.")
    image_ids = dataset[column][:]
    chosen = _choose_images(Counter(image_ids), fraction, seed)
    return _select_images(dataset, image_ids, chosen, False), _select_images(dataset, image_ids, chosen, True)


def split_fold(dataset: Dataset, fold: int, seed: int, column: str = "image_id") -> tuple[Dataset, Dataset]:
    """Part `dataset` into (train, validation) for round `fold` of a cross-validation, counted from 1 to `NUM_FOLDS`.

    Over all rounds each row is in validation once, and rows of one value of `column` always together. Folds have about
    as many rows each, and the order of the rows does not matter.

    Raises:
        ValueError: If there is no such fold, or `column` has fewer values than there are folds.
    """
    if fold not in range(1, NUM_FOLDS + 1):
        raise ValueError(f"validation_fold must lie between 1 and {NUM_FOLDS}, got {fold}.")
    image_ids = dataset[column][:]
    chosen = _images_of_fold(Counter(image_ids), fold, seed)
    return _select_images(dataset, image_ids, chosen, False), _select_images(dataset, image_ids, chosen, True)


def add_validation(
    splits: DatasetDict,
    fraction: float = VALIDATION_FRACTION,
    column: str = "image_id",
    seed: int = 0,
    fold: int | None = None,
) -> DatasetDict:
    """`splits` with a validation split made from "train" by `column`, where there is "train" and no validation.

    With `fold` the split is that round of a cross-validation, and `fraction` does not matter.

    Raises:
        ValueError: If `split_fold` raises it.
    """
    if "validation" in splits or "train" not in splits:
        return splits
    if fold is None and len(set(splits["train"][column][:])) < 2:
        logger.warning(f"No validation split: the training rows have a single {column}, and splits are made by it.")
        return splits
    if fold is None:
        train, validation = split_by_image(splits["train"], fraction, seed, column)
    else:
        train, validation = split_fold(splits["train"], fold, seed, column)
    others = {name: split for name, split in splits.items() if name != "train"}
    return DatasetDict({"train": train, "validation": validation, **others})


def default_eval_split(splits: DatasetDict) -> str:
    """test, where it has answers or there is no validation split; else validation.

    Pairs of images and texts have no answers: of those, test wherever there is one.
    """
    if "validation" not in splits:
        return "test"
    if "test" not in splits:
        return "validation"
    test = splits["test"]
    has_answers = "answer" not in test.column_names or any(answer is not None for answer in test["answer"][:])
    return "test" if has_answers else "validation"


def evaluated_split(splits: DatasetDict, wanted: str | None, dataset: str) -> str:
    """The name of the split to evaluate: `wanted`, or the default one.

    Args:
        splits: The splits of `dataset`.
        wanted: A split's name, or None for `default_eval_split`.
        dataset: The data set's name, for the error.

    Raises:
        ValueError: If there is no such split.
    """
    split = wanted or default_eval_split(splits)
    if split not in splits:
        raise ValueError(f"{dataset} has no split {split!r}; it has {', '.join(map(str, splits))}.")
    return split


def _choose_images(questions: Mapping[str, int], fraction: float, seed: int) -> set[str]:
    if len(questions) < 2:
        raise ValueError(f"A split by image needs two images or more, got {len(questions)}.")
    target = fraction * sum(questions.values())
    chosen: set[str] = set()
    held = 0
    # One image always stays for training, however many questions the others lack.
    for image_id in shuffled(questions, seed)[:-1]:
        if held >= target:
            break
        chosen.add(image_id)
        held += questions[image_id]
    return chosen


def _images_of_fold(questions: Mapping[str, int], fold: int, seed: int) -> set[str]:
    if len(questions) < NUM_FOLDS:
        raise ValueError(f"{NUM_FOLDS} folds by image need {NUM_FOLDS} images or more, got {len(questions)}.")
    folds: list[set[str]] = [set() for _ in range(NUM_FOLDS)]
    held = [0] * NUM_FOLDS
    for image_id in shuffled(questions, seed):
        emptiest = held.index(min(held))
        folds[emptiest].add(image_id)
        held[emptiest] += questions[image_id]
    return folds[fold - 1]


def shuffled(ids: Collection[str], seed: int) -> list[str]:
    """`ids` by a hash of (seed, id), whatever order they come in."""
    return sorted(ids, key=lambda one: hashlib.sha256(f"{seed}:{one}".encode()).digest())


def _select_images(dataset: Dataset, image_ids: list[str], chosen: Collection[str], inside: bool) -> Dataset:
    return dataset.select([row for row, image_id in enumerate(image_ids) if (image_id in chosen) == inside])
