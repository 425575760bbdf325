"""One door to every visual question answering data set."""

import inspect
import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from .names import ANSWERS, NAMED, VALIDATION_BY
from .official_split import add_official_validation
from .phantom.datasets import load_phantom_vqa
from .readers.kvasir_vqa import load_kvasir_vqa
from .readers.mimic_cxr_vqa import load_mimic_cxr_vqa
from .readers.omni_med_vqa import load_omni_med_vqa
from .readers.own_data import load_own_data
from .readers.path_vqa import load_path_vqa
from .readers.pmc_vqa import load_pmc_vqa
from .readers.slake import load_slake
from .readers.table_files import SUFFIXES, may_be_hub_id
from .readers.vqa_med_2019 import load_vqa_med_2019
from .readers.vqa_med_2020 import load_vqa_med_2020
from .readers.vqa_med_2021 import load_vqa_med_2021
from .readers.vqa_rad import load_vqa_rad
from .same_images import report_same_images, same_images, with_one_name_an_image
from .schema import with_joined_answers
from .splits import add_validation

logger = logging.getLogger(__name__)

READERS: dict[str, Callable[..., DatasetDict]] = {
    "vqa_rad": load_vqa_rad,
    "slake": load_slake,
    "path_vqa": load_path_vqa,
    "vqa_med_2019": load_vqa_med_2019,
    "vqa_med_2020": load_vqa_med_2020,
    "vqa_med_2021": load_vqa_med_2021,
    "pmc_vqa": load_pmc_vqa,
    "omni_med_vqa": load_omni_med_vqa,
    "kvasir_vqa": load_kvasir_vqa,
    "mimic_cxr_vqa": load_mimic_cxr_vqa,
}

# The column of images by their bytes, while a split is made.
_SAME_IMAGE = "image_file"

# Once a process, and a forked one has its parent's: a data set is never changed in place.
_generate_phantom = cache(load_phantom_vqa)


def load_vqa_dataset(
    name_or_path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    validation_by: str | None = "image",
    validation_fold: int | None = None,
    on_bad_row: str = "error",
    answers: str = "any",
    **column_names: Any,
) -> DatasetDict:
    """Load a data set in the common schema: image, question, answer, answer_type, question_type, image_id, question_id.

    Args:
        name_or_path: One of `NAMED`, of which "phantom" is generated, or one's own: a Hub id, a CSV, TSV, JSON, JSON
            Lines or Parquet file, or a folder of such files.
        data_dir: The local copy, for the readers that need one.
        strict: Raise where the rows are not as many as published; otherwise the difference is logged.
        validation_by: How a missing validation split is made from the training rows: of whole images ("image"); of
            questions with all their rephrasings about images that training shows too ("question", for data with a
            column `rephrasing_of`, as VQA-RAD's JSON files have); of single rows, whose images and rephrasings stay in
            training ("wording"); of written questions whose templates stay in training, as VQA-RAD's official test has
            them ("official", see `add_official_validation`); or not at all (None).
        validation_fold: Which fifth of the training rows, 1 to 5, is held out in place of a fixed 15 %, for
            cross-validation: of whole images, or by "question" or "wording".
        on_bad_row: "error" raises at the first row that cannot be used; "skip" leaves such rows out, and logs each.
        answers: Of several right answers "any" is enough, or "all" are one answer, as `joined_answers` makes it.
        **column_names: `image_column`, `question_column`, `ignore_columns` and others of `load_own_data` for one's own
            data; for the named ones what their reader takes: slake's `language`, pmc_vqa's `variant`, phantom's
            `num_studies`, `image_size` and `seed`.

    Returns:
        Splits "train", "validation" and "test", as far as the source has them, and validation as `validation_by` says.

    Raises:
        ValueError: If the name is neither a reader, nor a path, nor of a Hub id's form; if there is no such
            `validation_by` or `validation_fold`, or the data have no column for it or a validation split of their own;
            if the data set takes no such option, a file is damaged, or a row is bad and not skipped.
        FileNotFoundError: If a file or an image is missing.
    """
    if validation_by not in (*VALIDATION_BY, None):
        raise ValueError(f"validation_by {validation_by!r} is none of {', '.join(VALIDATION_BY)} and None.")
    name = str(name_or_path)
    if answers not in ANSWERS or (answers == "all" and name in NAMED):
        raise ValueError(
            f"answers {answers!r}: give any, or all for sets of answers in your own data. Those of {name} are single "
            "or alternatives."
        )
    if name not in NAMED and not Path(name).exists() and not may_be_hub_id(name):
        own = f"a Hub id, or the path of a folder or a file ({', '.join(SUFFIXES)}) with image_column and the like"
        raise ValueError(f"No data set {name!r}. Known by name: {', '.join(NAMED)}. For your own data give {own}.")
    check_options(name, vqa_reader_of(name), column_names)
    if name == "phantom":
        return _with_validation(DatasetDict(_generate_phantom(**column_names)), validation_by, validation_fold)
    if name in READERS:
        splits = READERS[name](data_dir=data_dir, strict=strict, on_bad_row=on_bad_row, **column_names)
        return _with_validation(splits, validation_by, validation_fold)
    splits = load_own_data(name, on_bad_row=on_bad_row, **column_names)
    if answers == "all":
        splits = DatasetDict({split: with_joined_answers(rows) for split, rows in splits.items()})
    return with_images_told_apart(name, splits, validation_by, validation_fold)


def with_images_told_apart(
    name: str, splits: DatasetDict, validation_by: str | None, validation_fold: int | None
) -> DatasetDict:
    """The splits of own data and the validation made of them, for which files of equal bytes are one image."""
    twins = same_images({str(split): rows for split, rows in splits.items()})
    report_same_images(name, twins)
    if "train" in splits:
        splits["train"] = with_one_name_an_image(splits["train"], twins, _SAME_IMAGE)
    parted = _with_validation(splits, validation_by, validation_fold, _SAME_IMAGE)
    plain = {split: [name for name in rows.column_names if name != _SAME_IMAGE] for split, rows in parted.items()}
    return DatasetDict({split: rows.select_columns(plain[split]) for split, rows in parted.items()})


def vqa_reader_of(name: str) -> Callable[..., Any]:
    """The function that reads a data set of questions."""
    return load_phantom_vqa if name == "phantom" else READERS.get(name, load_own_data)


def check_options(name: str, reader: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Make sure that a data set's reader takes the options that are given.

    Args:
        name: Of the data set, for the message.
        reader: The function that reads it.
        options: By the reader's names.

    Raises:
        ValueError: If it does not take one, naming those that it takes.
    """
    taken = set(inspect.signature(reader).parameters) - {"name_or_path", "data_dir", "strict", "on_bad_row"}
    if surplus := [option for option in options if option not in taken]:
        raise ValueError(
            f"{name} takes no {' and no '.join(surplus)}; it takes {', '.join(sorted(taken)) or 'no such option'}. "
            "Leave it out."
        )


def _with_validation(
    splits: DatasetDict, by: str | None, fold: int | None, image_column: str = "image_id"
) -> DatasetDict:
    if fold is not None and (by is None or "validation" in splits or "train" not in splits):
        raise ValueError(
            f"validation_fold {fold} makes a validation split from the training rows, and these data have "
            f"{', '.join(map(str, splits))}: leave it out. Neither can it be where validation_by is None."
        )
    if by not in (None, "image") and "validation" in splits:
        logger.warning(f"validation_by {by} changes nothing: these data have a validation split of their own.")
    if by is None or "train" not in splits or "validation" in splits:
        return splits
    if by == "official" and fold is not None:
        raise ValueError(f"validation_fold {fold}: 'official' makes no fifths, so give another validation_by.")
    if by == "official":
        return add_official_validation(splits)
    column = image_column if by == "image" else VALIDATION_BY[by]
    if column not in splits["train"].column_names:
        raise ValueError(
            f"validation_by {by!r} keeps a question's rephrasings together, and these data have no column {column!r} "
            "to tell them: give 'wording', which holds out single rows, or 'image'."
        )
    return add_validation(splits, column=column, fold=fold)
