"""Validation splits made by image, or by another column: rows of one value all go to the same side."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping

from datasets import Dataset, DatasetDict
from transformers.utils import logging

logger = logging.get_logger(__name__)

VALIDATION_FRACTION = 0.15


def split_by_image(dataset: Dataset, fraction: float, seed: int, column: str = "image_id") -> tuple[Dataset, Dataset]:
    """Part `dataset` into (train, validation) that share no value of `column`; rows keep their order.

    Images are ordered by a hash of (seed, image id), whatever the order of the file; they go to validation until it
    holds `fraction` of the questions. Where images are added, the last ones may change sides.

    Raises:
        ValueError: when `fraction` is not between 0 and 1 or there are fewer than two images.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}.")
    image_ids = list(dataset[column])
    chosen = _choose_images(Counter(image_ids), fraction, seed)
    return _select_images(dataset, image_ids, chosen, False), _select_images(dataset, image_ids, chosen, True)


def add_validation(
    splits: DatasetDict, fraction: float = VALIDATION_FRACTION, column: str = "image_id", seed: int = 0
) -> DatasetDict:
    """`splits` with a validation split made from "train" by `column`, where there is "train" and no validation."""
    if "validation" in splits or "train" not in splits:
        return splits
    if len(set(splits["train"][column])) < 2:
        logger.warning(f"No validation split: the training rows have a single {column}, and splits are made by it.")
        return splits
    train, validation = split_by_image(splits["train"], fraction, seed, column)
    others = {name: split for name, split in splits.items() if name != "train"}
    return DatasetDict({"train": train, "validation": validation, **others})


def _choose_images(questions: Mapping[str, int], fraction: float, seed: int) -> set[str]:
    if len(questions) < 2:
        raise ValueError(f"A split by image needs two images or more, got {len(questions)}.")
    ordered = sorted(questions, key=lambda image_id: hashlib.sha256(f"{seed}:{image_id}".encode()).digest())
    target = fraction * sum(questions.values())
    chosen: set[str] = set()
    held = 0
    # One image always stays for training, however many questions the others lack.
    for image_id in ordered[:-1]:
        if held >= target:
            break
        chosen.add(image_id)
        held += questions[image_id]
    return chosen


def _select_images(dataset: Dataset, image_ids: list[str], chosen: Collection[str], inside: bool) -> Dataset:
    return dataset.select([row for row, image_id in enumerate(image_ids) if (image_id in chosen) == inside])
