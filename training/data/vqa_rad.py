"""VQA-RAD (Lau et al., 2018): 3,515 questions by clinicians on 315 MedPix images."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from .counts import compare_counts
from .own_data import load_own_data
from .schema import as_answer_type, as_text, build_vqa_dataset, check_images, find_first, read_json, require_folder

PUBLIC_FILE = "VQA_RAD Dataset Public.json"
EXTRA_COLUMNS = ("organ", "phrase_type")
PUBLISHED_ROWS = {
    "papers": {"train": 3064, "test": 451},
    "public": {"train": 1797, "test": 451},
    "mirror": {"train": 1793, "test": 451},
}


def load_vqa_rad(data_dir: str | os.PathLike[str] | None = None, strict: bool = False) -> DatasetDict:
    """Read a local copy of VQA-RAD, in any of the three forms that circulate, as splits "train" and "test".

    - The split that the papers use: `trainset.json` and `testset.json`, or `testset_questions.json`, whose rows have
      no answers (`answer` is then None).
    - The original release: `VQA_RAD Dataset Public.json`, whose test rows have a `phrase_type` that starts with
      "test_". It lacks the "frame" questions of the papers' training set.
    - The Hub mirror `flaviagiammarino/vqa-rad` as a folder of Parquet files: image, question and answer alone.

    JSON files have their images in `images/` or `VQA_RAD Image Folder/`, and give two more columns: `organ` and
    `phrase_type`. All 203 test images are training images too, in every form: these splits are by question.

    Raises:
        FileNotFoundError: when a file or an image is missing.
        ValueError: when `data_dir` is None, or when `strict` and the rows are not as many as published.
    """
    folder = require_folder(data_dir, "vqa_rad", f"trainset.json, {PUBLIC_FILE!r} or the Hub mirror's Parquet files")
    layout, splits = _read_layout(folder)
    compare_counts("vqa_rad", {name: len(split) for name, split in splits.items()}, PUBLISHED_ROWS[layout], strict)
    return splits


def _read_layout(folder: Path) -> tuple[str, DatasetDict]:
    if not (folder / "trainset.json").exists() and any(folder.rglob("*.parquet")):
        return "mirror", load_own_data(folder)
    train_file = find_first(folder, ("trainset.json", PUBLIC_FILE), "vqa_rad")
    images = find_first(folder, ("images", "VQA_RAD Image Folder"), "vqa_rad")
    rows = read_json(train_file)
    if train_file.name == PUBLIC_FILE:
        train = [row for row in rows if not _is_public_test(row)]
        test = [row for row in rows if _is_public_test(row)]
        check_images([images / row["image_name"] for row in rows], train_file)
        return "public", DatasetDict(train=_build(train, images), test=_build(test, images))
    test_file = find_first(folder, ("testset.json", "testset_questions.json"), "vqa_rad")
    test_rows = read_json(test_file)
    check_images([images / row["image_name"] for row in rows], train_file)
    check_images([images / row["image_name"] for row in test_rows], test_file)
    return "papers", DatasetDict(train=_build(rows, images), test=_build(test_rows, images))


def _is_public_test(row: dict[str, Any]) -> bool:
    return row["phrase_type"].startswith("test_")


def _build(rows: Sequence[dict[str, Any]], images: Path) -> Dataset:
    return build_vqa_dataset([_to_schema(row, images) for row in rows], EXTRA_COLUMNS)


def _to_schema(row: dict[str, Any], images: Path) -> dict[str, str | None]:
    return {
        "image": str(images / row["image_name"]),
        "question": row["question"],
        "answer": as_text(row.get("answer")),
        "answer_type": as_answer_type(row.get("answer_type")),
        "question_type": as_text(row.get("question_type")),
        "image_id": Path(row["image_name"]).stem,
        "question_id": str(row["qid"]),
        "organ": as_text(row.get("image_organ")),
        "phrase_type": as_text(row.get("phrase_type")),
    }
