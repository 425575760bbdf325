"""VQA-RAD (Lau et al., 2018): 3,515 questions by clinicians on 315 MedPix images."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import DatasetDict

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
from .own_data import load_own_data
from .table_files import find_first, read_json, require_folder

PUBLIC_FILE = "VQA_RAD Dataset Public.json"

EXTRA_COLUMNS = ("organ", "phrase_type", "rephrasing_of")

PUBLISHED_ROWS = {
    "papers": {"train": 3064, "test": 451},
    "public": {"train": 1797, "test": 451},
    "mirror": {"train": 1793, "test": 451},
}


def load_vqa_rad(
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, on_bad_row: str = "error"
) -> DatasetDict:
    """Read a local copy of VQA-RAD, in any of the three forms that circulate, as splits "train" and "test".

    - The split that the papers use: `trainset.json` and `testset.json`, or `testset_questions.json`, whose rows have
      no answers (`answer` is then None).
    - The original release: `VQA_RAD Dataset Public.json`, whose test rows have a `phrase_type` that starts with
      "test_". It lacks the "frame" questions of the papers' training set.
    - The Hub mirror `flaviagiammarino/vqa-rad` as a folder of Parquet files: image, question and answer alone.

    JSON files have their images in `images/` or `VQA_RAD Image Folder/`, and give three more columns: `organ`,
    `phrase_type`, and `rephrasing_of`, which wordings of one question share. All 203 test images are in training too.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, if `strict` and the rows are not as many as published, or a row is bad
            and `on_bad_row` is "error".
    """
    folder = require_folder(data_dir, "vqa_rad", f"trainset.json, {PUBLIC_FILE!r} or the Hub mirror's Parquet files")
    bad_rows = BadRows(on_bad_row)
    layout, splits = _read_layout(folder, bad_rows)
    bad_rows.report()
    compare_counts("vqa_rad", splits.num_rows, PUBLISHED_ROWS[layout], strict)
    return splits


def _read_layout(folder: Path, bad_rows: BadRows) -> tuple[str, DatasetDict]:
    if not (folder / "trainset.json").exists() and any(folder.rglob("*.parquet")):
        return "mirror", load_own_data(folder, on_bad_row="skip" if bad_rows.skip else "error")
    train_file = find_first(folder, ("trainset.json", PUBLIC_FILE), "vqa_rad")
    images = find_first(folder, ("images", "VQA_RAD Image Folder"), "vqa_rad")

    def usable_rows(file: Path) -> list[VqaRow]:
        return RowSource(file, bad_rows).convert_files(read_json(file), partial(_to_schema, images))

    rows = usable_rows(train_file)
    if train_file.name == PUBLIC_FILE:
        tested = [str(row.get("phrase_type")).startswith("test_") for row in rows]
        parts = {
            name: [row for row, test in zip(rows, tested, strict=True) if test == (name == "test")]
            for name in ("train", "test")
        }
        return "public", _build(parts)
    test_file = find_first(folder, ("testset.json", "testset_questions.json"), "vqa_rad")
    return "papers", _build({"train": rows, "test": usable_rows(test_file)})


def _build(splits: Mapping[str, list[VqaRow]]) -> DatasetDict:
    return DatasetDict(
        {name: build_vqa_dataset(_link_rephrasings(rows), EXTRA_COLUMNS) for name, rows in splits.items()}
    )


def _to_schema(images: Path, row: Mapping[str, Any]) -> VqaRow:
    name = as_image_name(row["image_name"])
    return {
        "image": str(images / name),
        "question": as_question(row["question"]),
        "answer": as_answer(row.get("answer")),
        "answer_type": as_answer_type(row.get("answer_type")),
        "question_type": as_cell(row.get("question_type")),
        "image_id": Path(name).stem,
        "question_id": as_cell(row["qid"]),
        "organ": as_cell(row.get("image_organ")),
        "phrase_type": as_cell(row.get("phrase_type")),
        "rephrasing_of": as_cell(row.get("qid_linked_id")),
    }


def _link_rephrasings(rows: list[VqaRow]) -> list[VqaRow]:
    """`rows` with `rephrasing_of`: the release's own link, else the `question_id` of a question's first wording.

    The papers' split numbers a free question, its form as a template ("frame"), its paraphrase ("para") and the form of
    that one after another; they have one image and one answer. Wordings in the other split leave gaps.
    """
    by_number = {int(number): row for row in rows if (number := row["question_id"] or "").isdecimal()}
    for number, row in sorted(by_number.items()):
        if row.get("rephrasing_of") is None:
            first = _first_wording(row, by_number.get(number - 1), by_number.get(number - 2))
            row["rephrasing_of"] = first.get("rephrasing_of") or first["question_id"]
    return rows


def _first_wording(row: VqaRow, before: VqaRow | None, second_before: VqaRow | None) -> VqaRow:
    """The row whose wording `row` links to, of the two numbered before it; itself where it begins a question."""
    kind = row.get("phrase_type")
    if before is None:
        return row
    if kind == "frame" and _asks_the_same(row, before):
        return before
    if kind != "para" or before.get("phrase_type") != "frame" or second_before is None:
        return row
    is_first = second_before.get("phrase_type") == "freeform" and _asks_the_same(row, second_before)
    return second_before if is_first else row


def _asks_the_same(row: VqaRow, other: VqaRow) -> bool:
    return (row["image_id"], row["answer"]) == (other["image_id"], other["answer"])
