"""SLAKE (Liu et al., 2021): 14,028 English and Chinese questions on 642 images."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from ..schema import (
    VqaRow,
    as_answer,
    as_answer_type,
    as_cell,
    as_image_name,
    as_question,
    build_vqa_dataset,
    compare_counts,
)
from .bad_rows import BadRows, RowSource
from .table_files import find_first, read_json, require_folder

EXTRA_COLUMNS = ("modality", "organ")

# The Hub mirror BoKelvin/SLAKE renames validate.json.
FILES = {
    "train": ("train.json",),
    "validation": ("validate.json", "validation.json"),
    "test": ("test.json",),
}

PUBLISHED_ROWS = {
    "en": {"train": 4919, "validation": 1053, "test": 1061},
    "zh": {"train": 4916, "validation": 1046, "test": 1033},
}


def load_slake(
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    language: str = "en",
    on_bad_row: str = "error",
) -> DatasetDict:
    """Read a local copy of SLAKE: `imgs/`, `train.json`, `validate.json` (or `validation.json`) and `test.json`.

    One language at a time, "en" or "zh": the files part the images differently for the two, so that English and
    Chinese rows together share images between training and test. `question_type` is the file's `content_type`; two
    more columns are `modality` and `organ` (the file's `location`).

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, there is no such language, `strict` and the counts differ, or a row is bad
            and `on_bad_row` is "error".
    """
    if language not in PUBLISHED_ROWS:
        raise ValueError(f"slake has the languages {', '.join(PUBLISHED_ROWS)}, not {language!r}.")
    folder = require_folder(data_dir, "slake", "imgs/, train.json, validate.json and test.json")
    images = find_first(folder, ("imgs",), "slake")
    bad_rows = BadRows(on_bad_row)
    splits = DatasetDict(
        {
            split: _read_split(find_first(folder, names, "slake"), images, language, bad_rows)
            for split, names in FILES.items()
        }
    )
    bad_rows.report()
    compare_counts(f"slake ({language})", splits.num_rows, PUBLISHED_ROWS[language], strict)
    return splits


def _read_split(path: Path, images: Path, language: str, bad_rows: BadRows) -> Dataset:
    rows = RowSource(path, bad_rows).convert_files(read_json(path), partial(_to_schema, images))
    return build_vqa_dataset([row for row in rows if row.get("language") == language], EXTRA_COLUMNS)


def _to_schema(images: Path, row: Mapping[str, Any]) -> VqaRow:
    name = as_image_name(row["img_name"])
    return {
        "language": row["q_lang"],
        "image": str(images / name),
        "question": as_question(row["question"]),
        "answer": as_answer(row.get("answer")),
        "answer_type": as_answer_type(row.get("answer_type")),
        "question_type": as_cell(row.get("content_type")),
        "image_id": Path(name).parent.name,
        "question_id": as_cell(row["qid"]),
        "modality": as_cell(row.get("modality")),
        "organ": as_cell(row.get("location")),
    }
