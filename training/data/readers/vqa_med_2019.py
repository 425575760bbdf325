"""VQA-Med-2019 (Ben Abacha et al., 2019): 15,292 questions of four categories on 4,200 MedPix images."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from ..schema import VqaRow, as_answer, as_image_name, as_question, build_vqa_dataset, compare_counts
from .bad_rows import BadRows, RowSource
from .table_files import find_first, require_folder
from .vqa_med_lines import line_parts, read_lines

TRAINING, VALIDATION, TEST = "ImageClef-2019-VQA-Med-Training", "ImageClef-2019-VQA-Med-Validation", "VQAMed2019Test"

CATEGORIES = {"C1_Modality": "modality", "C2_Plane": "plane", "C3_Organ": "organ", "C4_Abnormality": "abnormality"}

PUBLISHED_ROWS = {"train": 12792, "validation": 2000, "test": 500}

ANSWERED_TEST = "VQAMed2019_Test_Questions_w_Ref_Answers.txt"


def load_vqa_med_2019(
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, on_bad_row: str = "error"
) -> DatasetDict:
    """Read the organisers' three folders, as they unpack, in one folder.

    - `ImageClef-2019-VQA-Med-Training/` with `All_QA_Pairs_train.txt`, `QAPairsByCategory/` and `Train_images/`;
    - `ImageClef-2019-VQA-Med-Validation/`, alike;
    - `VQAMed2019Test/` with `VQAMed2019_Test_Images/` and `VQAMed2019_Test_Questions.txt`, whose rows have no answers
      (`answer` is then None), or `VQAMed2019_Test_Questions_w_Ref_Answers.txt`, which has them and is then taken.

    A line is `image|question|answer`; in the answered test file `image|category|question|answer`. `answer` keeps the
    file's own text for scoring: `#` parts alternatives, `(...)` is optional (`acceptable_vqa_med_answers`).
    `question_type` is the category, None for test questions without answers, for which no file says it. There is no
    `answer_type`, and the question id is `<image id>|<question>`.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, if `strict` and the rows are not as many as published, or a row is bad
            and `on_bad_row` is "error".
    """
    folder = require_folder(data_dir, "vqa_med_2019", f"{TRAINING}/, {VALIDATION}/ and {TEST}/")
    bad_rows = BadRows(on_bad_row)
    splits = DatasetDict(
        {
            "train": _read_answered(find_first(folder, (TRAINING,), "vqa_med_2019"), "train", bad_rows),
            "validation": _read_answered(find_first(folder, (VALIDATION,), "vqa_med_2019"), "val", bad_rows),
            "test": _read_test(find_first(folder, (TEST,), "vqa_med_2019"), bad_rows),
        }
    )
    bad_rows.report()
    compare_counts("vqa_med_2019", splits.num_rows, PUBLISHED_ROWS, strict)
    return splits


def _read_answered(folder: Path, split: str, bad_rows: BadRows) -> Dataset:
    file = find_first(folder, (f"All_QA_Pairs_{split}.txt",), "vqa_med_2019")
    images = find_first(folder, (f"{split.capitalize()}_images",), "vqa_med_2019")
    convert = partial(_to_schema, ("image", "question", "answer"), images, _read_categories(folder, split))
    return build_vqa_dataset(RowSource(file, bad_rows).convert_files(read_lines(file), convert))


def _read_test(folder: Path, bad_rows: BadRows) -> Dataset:
    file = find_first(folder, (ANSWERED_TEST, "VQAMed2019_Test_Questions.txt"), "vqa_med_2019")
    images = find_first(folder, ("VQAMed2019_Test_Images",), "vqa_med_2019")
    answered = ("image", "category", "question", "answer")
    names = answered if file.name == ANSWERED_TEST else ("image", "question")
    convert = partial(_to_schema, names, images, {})
    return build_vqa_dataset(RowSource(file, bad_rows).convert_files(read_lines(file), convert))


def _read_categories(folder: Path, split: str) -> dict[str, str]:
    """By the start of a line, `image|question`, its category; empty where the copy has no files by category."""
    categories = {}
    for stem, category in CATEGORIES.items():
        file = folder / "QAPairsByCategory" / f"{stem}_{split}.txt"
        lines = read_lines(file) if file.is_file() else []
        categories |= {line["line"].rpartition("|")[0]: category for line in lines}
    return categories


def _to_schema(names: tuple[str, ...], images: Path, categories: Mapping[str, str], row: Mapping[str, Any]) -> VqaRow:
    cell = line_parts(row, names)
    image_id = as_image_name(cell["image"])
    category = cell.get("category") or categories.get(row["line"].strip().rpartition("|")[0])
    return {
        "image": str(images / f"{image_id}.jpg"),
        "question": as_question(cell["question"]),
        "answer": as_answer(cell.get("answer")),
        "question_type": category and category.strip().lower(),
        "image_id": image_id,
        "question_id": None,
    }
