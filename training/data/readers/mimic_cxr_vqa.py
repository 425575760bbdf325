"""MIMIC-CXR-VQA (Bae et al., 2023): 377,391 questions of 48 templates on chest radiographs of MIMIC-CXR-JPG."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from ..schema import VqaRow, as_answer, as_cell, as_image_name, as_question, build_vqa_dataset, compare_counts
from ..shown_values import shown
from .bad_rows import BadRows, RowSource
from .table_files import find_first, read_json, require_folder

# What the files call the splits.
SPLITS = {"train": "train", "validation": "valid", "test": "test"}

PUBLISHED_ROWS = {"train": 290031, "validation": 73567, "test": 13793}

# Where nothing that was asked for is seen, the list of answers is empty.
NOTHING = "none"


def load_mimic_cxr_vqa(
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, on_bad_row: str = "error"
) -> DatasetDict:
    """Read `train.json`, `valid.json` and `test.json`, as the authors' script makes them, and MIMIC-CXR-JPG's images.

    The files lie in the folder itself, in its `dataset/` or in `mimiccxrvqa/dataset/`; the images are
    `files/<image_path>`, as PhysioNet has them, or `<image_path>`, in the folder itself.

    `answer` is the file's list of labels as one text, in their order and with commas: they are right together alone. An
    empty list is "none".
    `question_type` is the file's content_type (anatomy, presence, plane, ..); the question id is its split and idx.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, if `strict` and the rows are not as many as published, or a row is bad
            and `on_bad_row` is "error", as are those of the authors' files without answers.
    """
    folder = require_folder(data_dir, "mimic_cxr_vqa", "train.json, valid.json, test.json and MIMIC-CXR-JPG's files/")
    bad_rows = BadRows(on_bad_row)
    images = folder / "files" if (folder / "files").is_dir() else folder
    splits = DatasetDict()
    for split, name in SPLITS.items():
        places = [f"{place}{name}.json" for place in ("", "dataset/", "mimiccxrvqa/dataset/")]
        file = find_first(folder, places, "mimic_cxr_vqa")
        rows = RowSource(file, bad_rows).convert_files(read_json(file), partial(_to_schema, images))
        splits[split] = build_vqa_dataset(rows)
    bad_rows.report()
    compare_counts("mimic_cxr_vqa", splits.num_rows, PUBLISHED_ROWS, strict)
    return splits


def _to_schema(images: Path, row: Mapping[str, Any]) -> VqaRow:
    if "answer" not in row or "image_path" not in row:
        raise ValueError("there is no answer or image_path: run the authors' generate_answer.py, which adds them.")
    labels = row["answer"]
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise ValueError(f"the answer is {shown(labels)}, not a list of labels.")
    return {
        "image": str(images / as_image_name(row["image_path"])),
        "question": as_question(row["question"]),
        "answer": as_answer(", ".join(labels) or NOTHING),
        "question_type": as_cell(row.get("content_type")),
        "image_id": as_image_name(row["image_id"]),
        "question_id": f"{row['split']}|{row['idx']}",
    }
