"""One door to every set of image-report pairs."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from datasets import DatasetDict, IterableDatasetDict

from .phantom.datasets import load_phantom_pretraining
from .readers.iu_xray import load_iu_xray
from .readers.medicat import load_medicat
from .readers.mimic_cxr import load_mimic_cxr
from .readers.own_pairs import load_own_pairs
from .readers.roco import load_roco
from .readers.rocov2 import load_rocov2
from .readers.table_files import SUFFIXES, may_be_hub_id
from .readers.vqa_pairs import load_vqa_pairs
from .splits import add_validation
from .vqa_dataset import check_options

PAIR_READERS: dict[str, Callable[..., DatasetDict]] = {
    "mimic_cxr": load_mimic_cxr,
    "roco": load_roco,
    "rocov2": load_rocov2,
    "medicat": load_medicat,
    "iu_xray": load_iu_xray,
    "vqa_pairs": load_vqa_pairs,
}
PAIR_VALIDATION_FRACTION = 0.05
# Once a process, and a forked one has its parent's: a data set is never changed in place.
_generate_phantom = cache(load_phantom_pretraining)


def load_pretraining_dataset(
    name_or_path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    **column_names: Any,
) -> DatasetDict | IterableDatasetDict:
    """Load image-report pairs in the common schema, a row a study: images (one or more views), text, study_id.

    Texts are as the source writes them; the collator normalises them. Readers add columns of their own.

    Args:
        name_or_path: "phantom" (generated), "mimic_cxr", "roco", "rocov2", "medicat", "iu_xray", "vqa_pairs" (made
            from the training questions of a VQA set), or one's own: a Hub id, a CSV, JSON, JSON Lines or Parquet file,
            or a folder.
        data_dir: The local copy, for the readers that need one; of roco and rocov2 also the Hub id of a mirror.
        strict: Raise where the rows are not as many as published or an image is missing; otherwise the difference is
            logged and what cannot be used is left out.
        **column_names: `image_column`, `text_column`, `study_column` and `streaming` for one's own data; for the named
            ones what their reader takes: phantom's `num_studies`, `image_size` and `seed`, mimic_cxr's `reports_dir`,
            `vqa_dataset` and `validation_by` for vqa_pairs.

    Returns:
        Splits "train", "validation" and "test", as far as the source has them; an `IterableDatasetDict` with
        `streaming=True`. Without a validation split, one of 5 % is made from the training studies (not of a stream), so
        that rows of one study, or of one article in medicat, are on one side.

    Raises:
        ValueError: If the name is neither a reader, nor a path, nor of a Hub id's form, or takes no such option.
        FileNotFoundError: If a file is missing or nothing in it is usable.
    """
    name = str(name_or_path)
    if name == "phantom":
        check_options(name, load_phantom_pretraining, column_names)
        return DatasetDict(_generate_phantom(**column_names))
    if name in PAIR_READERS:
        if name != "vqa_pairs":  # which hands on what another reader takes
            check_options(name, PAIR_READERS[name], column_names)
        elif "vqa_dataset" not in column_names:
            raise ValueError("vqa_pairs makes pairs of a set of questions: name it as vqa_dataset.")
        splits = PAIR_READERS[name](data_dir=data_dir, strict=strict, **column_names)
        return add_validation(splits, PAIR_VALIDATION_FRACTION, "paper_id" if name == "medicat" else "study_id")
    if not Path(name).exists() and not may_be_hub_id(name):
        raise ValueError(
            f"No image-report pairs {name!r}. Known by name: phantom, {', '.join(PAIR_READERS)}. For your own data "
            f"give a Hub id, or the path of a folder or a file ({', '.join(SUFFIXES)}) with image_column and "
            "text_column."
        )
    check_options(name, load_own_pairs, column_names)
    splits = load_own_pairs(name, **column_names)
    if isinstance(splits, IterableDatasetDict):
        return splits
    return add_validation(splits, PAIR_VALIDATION_FRACTION, "study_id")


def pair_reader_of(name: str) -> Callable[..., Any]:
    """The function that reads a set of image-report pairs."""
    return load_phantom_pretraining if name == "phantom" else PAIR_READERS.get(name, load_own_pairs)
