"""VQA-Med-2020 (Ben Abacha et al., 2020): 5,000 questions about abnormalities, each on a MedPix image of its own."""

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

TRAINING, VALIDATION = "VQAMed2020-VQAnswering-TrainingSet", "VQAMed2020-VQAnswering-ValidationSet"

# The zip of training and validation has them in this folder, and tools that unpack into one of the zip's name in two.
AROUND = "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets"

TEST = ("VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1", "VQA-Med-2020-Task1-VQAnswering-TestSet")

TEST_QUESTIONS = ("VQAMed2020-Task1-VQAnswering-Test-Questions.txt", "VQAnswering_2020_Test_Questions.txt")

PUBLISHED_ROWS = {"train": 4000, "validation": 500, "test": 500}


def load_vqa_med_2020(
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, on_bad_row: str = "error"
) -> DatasetDict:
    """Read the organisers' folders, as they unpack, in one folder.

    - `VQAMed2020-VQAnswering-TrainingSet/` with `VQAnswering_2020_Train_QA_pairs.txt` and
      `VQAnswering_2020_Train_images/`, and `VQAMed2020-VQAnswering-ValidationSet/` alike, in the folder itself or in
      `VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/`;
    - `VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1/` with the questions, `Task1-2020-VQAnswering-Test-Images/` and
      `VQAMed2020-Task1-VQAnswering-Test-ReferenceAnswers.txt`, without which `answer` is None.

    A line is `image|question|answer`, in the test's two files `image|question` and `image|answer`. There are no
    question types and answer types, and the question id is `<image id>|<question>`.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, if `strict` and the rows are not as many as published, or a row is bad
            and `on_bad_row` is "error".
    """
    folder = require_folder(data_dir, "vqa_med_2020", f"{AROUND}/ and {TEST[0]}/")
    bad_rows = BadRows(on_bad_row)
    test = find_first(folder, TEST, "vqa_med_2020")
    splits = DatasetDict(
        {
            **read_training("vqa_med_2020", folder, bad_rows),
            "test": read_test(
                find_first(test, TEST_QUESTIONS, "vqa_med_2020"),
                test / "VQAMed2020-Task1-VQAnswering-Test-ReferenceAnswers.txt",
                find_first(test, ("Task1-2020-VQAnswering-Test-Images",), "vqa_med_2020"),
                bad_rows,
            ),
        }
    )
    bad_rows.report()
    compare_counts("vqa_med_2020", splits.num_rows, PUBLISHED_ROWS, strict)
    return splits


def read_training(reader: str, folder: Path, bad_rows: BadRows) -> dict[str, Dataset]:
    """The splits "train" and "validation" of VQA-Med-2020 in a folder; `reader` is named in messages."""
    splits = {}
    for split, name, stem, pairs in (
        ("train", TRAINING, "VQAnswering_2020_Train", "QA_pairs"),
        ("validation", VALIDATION, "VQAnswering_2020_Val", "QA_Pairs"),
    ):
        inside = find_first(folder, (name, f"{AROUND}/{name}", f"{AROUND}/{AROUND}/{name}"), reader)
        file = find_first(inside, (f"{stem}_{pairs}.txt",), reader)
        splits[split] = read_answered(file, find_first(inside, (f"{stem}_images",), reader), bad_rows)
    return splits


def read_answered(file: Path, images: Path, bad_rows: BadRows) -> Dataset:
    """The rows of a file of lines `image|question|answer`."""
    convert = partial(_to_schema, images, None)
    return build_vqa_dataset(RowSource(file, bad_rows).convert_files(read_lines(file), convert))


def read_test(questions: Path, references: Path, images: Path, bad_rows: BadRows) -> Dataset:
    """The rows of a file of lines `image|question`, with the answers of a file of lines `image|answer`, if it is there.

    Of `image|answer|answer` each answer is right (`acceptable_vqa_med_2021_answers`), and `answer` keeps the bars.

    Raises:
        ValueError: If the second file answers an image twice, or is there and empty.
    """
    answers: dict[str, str] = {}
    for line in read_lines(references) if references.is_file() else []:
        image, _, text = line["line"].strip().partition("|")
        if image.strip() in answers:
            raise ValueError(f"{references} answers {image} twice: give the organisers' file.")
        answers[image.strip()] = text
    if references.is_file() and not answers:
        raise ValueError(f"{references} is empty: give the organisers' file, or none where the answers are unknown.")
    convert = partial(_to_schema, images, answers)
    return build_vqa_dataset(RowSource(questions, bad_rows).convert_files(read_lines(questions), convert))


def _to_schema(images: Path, answers: Mapping[str, str] | None, row: Mapping[str, Any]) -> VqaRow:
    cell = line_parts(row, ("image", "question", "answer") if answers is None else ("image", "question"))
    image_id = as_image_name(cell["image"].strip())
    if answers and image_id not in answers:
        raise ValueError(f"the file of references has no line of {image_id}: give the organisers' file.")
    right = cell["answer"] if answers is None else answers.get(image_id)
    return {
        "image": str(images / f"{image_id}.jpg"),
        "question": as_question(cell["question"]),
        "answer": as_answer(right),
        "question_type": None,
        "image_id": image_id,
        "question_id": None,
    }
