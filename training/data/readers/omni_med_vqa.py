"""OmniMedVQA (Hu et al., 2024): choices about images of 73 data sets, 42 of them with open access."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import DatasetDict
from transformers.utils import logging

from ..schema import VqaRow, as_answer, as_cell, as_image_name, as_question, build_vqa_dataset, compare_counts
from .bad_rows import BadRows, RowSource
from .choices import ChoiceReader
from .table_files import find_first, read_json, require_folder

logger = logging.get_logger(__name__)

PUBLISHED_ROWS = {"test": 88996}

CHOICES = tuple(f"option_{letter}" for letter in "ABCD")


def load_omni_med_vqa(
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, on_bad_row: str = "error"
) -> DatasetDict:
    """Read the open part of OmniMedVQA, a benchmark: all rows are "test".

    `QA_information/Open-access/*.json` (dataset, question_id, question_type, question, gt_answer, image_path, option_A
    to option_D, modality_type) and `Images/`, in the folder itself or in its `OmniMedVQA/`, as the zip unpacks. The
    questions of `Restricted-access/` are left out, which is said: the release has no images of them.

    `choices` are the options, two to four. `modality` is one more column. The image id is image_path.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, if `strict` and the rows are not as many as published, or a row is bad
            and `on_bad_row` is "error".
    """
    folder = require_folder(data_dir, "omni_med_vqa", "QA_information/Open-access/ and Images/")
    questions = find_first(folder, ("QA_information", "OmniMedVQA/QA_information"), "omni_med_vqa")
    files = sorted(find_first(questions, ("Open-access",), "omni_med_vqa").glob("*.json"))
    if restricted := list(questions.glob("Restricted-access/*.json")):
        logger.warning(f"omni_med_vqa: {len(restricted)} files of Restricted-access are not read.")
    bad_rows, taken = BadRows(on_bad_row), {}
    convert = partial(_to_schema, questions.parent, ChoiceReader(CHOICES))
    rows = [row for file in files for row in RowSource(file, bad_rows).convert_files(read_json(file), convert, taken)]
    splits = DatasetDict({"test": build_vqa_dataset(rows, ("modality",))})
    bad_rows.report()
    compare_counts("omni_med_vqa", splits.num_rows, PUBLISHED_ROWS, strict)
    return splits


def _to_schema(folder: Path, reader: ChoiceReader, row: Mapping[str, Any]) -> VqaRow:
    image_id = as_image_name(row["image_path"])
    choices, answer = reader.read(row, as_answer(row["gt_answer"]))
    return {
        "image": str(folder / image_id),
        "question": as_question(row["question"]),
        "answer": answer,
        "question_type": as_cell(row.get("question_type")),
        "image_id": image_id,
        "question_id": as_cell(row.get("question_id")),
        "choices": choices,
        # One file of the release has its name without "_type".
        "modality": as_cell(row.get("modality_type", row.get("modality"))),
    }
