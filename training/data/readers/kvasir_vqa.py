"""Kvasir-VQA (Gautam et al., 2024): 58,849 questions on 6,500 endoscopic images of the gut."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from ..schema import VqaRow, as_answer, as_image_name, as_question, build_vqa_dataset, compare_counts
from .bad_rows import BadRows, RowSource
from .csv_files import read_csv
from .own_data import load_own_data
from .table_files import find_first, require_folder

PUBLISHED_ROWS = {"train": 58849}


def load_kvasir_vqa(
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, on_bad_row: str = "error"
) -> DatasetDict:
    """Read a local copy of Kvasir-VQA, which has no splits: all rows are "train".

    - `metadata.csv` (source, question, answer, img_id) and `images/<img_id>.jpg`, as the authors' lines for downloading
      leave them.
    - The Parquet files of `SimulaMet-HOST/Kvasir-VQA` on the Hub: image, source, question, answer, img_id. The image id
      is then a hash of the image.

    There are no question types and answer types. An answer that names several places is one text, as the file writes
    it.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, if `strict` and the rows are not as many as published, or a row is bad
            and `on_bad_row` is "error".
    """
    folder = require_folder(data_dir, "kvasir_vqa", "metadata.csv and images/, or the Hub's Parquet files")
    if not (folder / "metadata.csv").exists() and any(folder.rglob("*.parquet")):
        splits = load_own_data(folder, on_bad_row=on_bad_row, ignore_columns=("source", "img_id"))
    else:
        file = find_first(folder, ("metadata.csv",), "kvasir_vqa")
        convert = partial(_to_schema, find_first(folder, ("images",), "kvasir_vqa"))
        bad_rows = BadRows(on_bad_row)
        rows = RowSource(file, bad_rows).convert_files(read_csv(file), convert)
        splits = DatasetDict({"train": build_vqa_dataset(rows)})
        bad_rows.report()
    compare_counts("kvasir_vqa", splits.num_rows, PUBLISHED_ROWS, strict)
    return splits


def _to_schema(images: Path, row: Mapping[str, Any]) -> VqaRow:
    image_id = as_image_name(row["img_id"])
    return {
        "image": str(images / f"{image_id}.jpg"),
        "question": as_question(row["question"]),
        "answer": as_answer(row.get("answer")),
        "question_type": None,
        "image_id": image_id,
        "question_id": None,
    }
