"""SLAKE (Liu et al., 2021): 14,028 English and Chinese questions on 642 images."""

import os
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from .counts import compare_counts
from .schema import as_answer_type, as_text, build_vqa_dataset, check_images, find_first, read_json, require_folder

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
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, language: str = "en"
) -> DatasetDict:
    """Read a local copy of SLAKE: `imgs/`, `train.json`, `validate.json` (or `validation.json`) and `test.json`.

    One language at a time, "en" or "zh": the files part the images differently for the two, so that English and
    Chinese rows together share images between training and test. `question_type` is the file's `content_type`; two
    more columns are `modality` and `organ` (the file's `location`).

    Raises:
        FileNotFoundError: when a file or an image is missing.
        ValueError: when `data_dir` is None, for another language, or when `strict` and the counts differ.
    """
    if language not in PUBLISHED_ROWS:
        raise ValueError(f"slake has the languages {', '.join(PUBLISHED_ROWS)}, not {language!r}.")
    folder = require_folder(data_dir, "slake", "imgs/, train.json, validate.json and test.json")
    images = find_first(folder, ("imgs",), "slake")
    splits = DatasetDict(
        {split: _read_split(find_first(folder, names, "slake"), images, language) for split, names in FILES.items()}
    )
    found = {name: len(split) for name, split in splits.items()}
    compare_counts(f"slake ({language})", found, PUBLISHED_ROWS[language], strict)
    return splits


def _read_split(path: Path, images: Path, language: str) -> Dataset:
    rows = read_json(path)
    check_images([images / row["img_name"] for row in rows], path)
    return build_vqa_dataset([_to_schema(row, images) for row in rows if row["q_lang"] == language], EXTRA_COLUMNS)


def _to_schema(row: dict[str, Any], images: Path) -> dict[str, str | None]:
    return {
        "image": str(images / row["img_name"]),
        "question": row["question"],
        "answer": as_text(row.get("answer")),
        "answer_type": as_answer_type(row.get("answer_type")),
        "question_type": as_text(row.get("content_type")),
        "image_id": Path(row["img_name"]).parent.name,
        "question_id": str(row["qid"]),
        "modality": as_text(row.get("modality")),
        "organ": as_text(row.get("location")),
    }
