"""PathVQA (He et al., 2020): 32,795 questions on pathology images from two textbooks and a digital library."""

import os
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from ..schema import VqaRow, as_answer, as_cell, as_image_name, as_question, build_vqa_dataset, compare_counts
from .bad_rows import BadRows, RowSource
from .own_data import load_own_data
from .table_files import find_first, read_json, require_folder

# The release's names of the splits.
SPLITS = {"train": "train", "validation": "val", "test": "test"}

PUBLISHED_ROWS = {
    "release": {"train": 19755, "validation": 6279, "test": 6761},
    "mirror": {"train": 19654, "validation": 6259, "test": 6719},
}


def load_path_vqa(
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, on_bad_row: str = "error"
) -> DatasetDict:
    """Read a local copy of PathVQA as splits "train", "validation" and "test".

    - The original release, the folder that holds `images/` and `qas/` (or the folder around it, with `pvqa/`). The
      images are `images/<train|val|test>/<id>.jpg`. The questions are read from the first of
      `qas/<split>_vqa.pkl` (`img_id`, `sent`, `label`, `question_id`, `question_type`) and
      `qas/<split>/<split>_qa.pkl` (`image`, `question`, `answer`), each a `.pkl` or `.json`. Pickles are read by a
      reader that knows plain containers only, so that a foreign file cannot run anything.
    - The Hub mirror `flaviagiammarino/path-vqa` as a folder of Parquet files: image, question and answer, without the
      release's repeated rows; its test split has 6,719 questions where the papers count 6,761.

    `question_type` is the release's first word of the question where its file has it; there is no `answer_type`.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, a pickle holds more than plain containers, `strict` and the rows are not as
            many as published, or a row is bad and `on_bad_row` is "error".
    """
    folder = require_folder(data_dir, "path_vqa", "images/ and qas/, or the Hub mirror's Parquet files")
    folder = folder / "pvqa" if (folder / "pvqa").is_dir() else folder
    if not (folder / "qas").is_dir() and any(folder.rglob("*.parquet")):
        layout, splits = "mirror", load_own_data(folder, on_bad_row=on_bad_row)
    else:
        layout, bad_rows = "release", BadRows(on_bad_row)
        images, questions = find_first(folder, ("images",), "path_vqa"), find_first(folder, ("qas",), "path_vqa")
        splits = DatasetDict(
            {name: _read_split(questions, images / split, split, bad_rows) for name, split in SPLITS.items()}
        )
        bad_rows.report()
    compare_counts(f"path_vqa ({layout})", splits.num_rows, PUBLISHED_ROWS[layout], strict)
    return splits


def _read_split(questions: Path, images: Path, split: str, bad_rows: BadRows) -> Dataset:
    stems = (f"{split}_vqa", f"{split}/{split}_qa", f"{split}_qa")
    names = [f"{stem}.{suffix}" for stem in stems for suffix in ("pkl", "json")]
    file = find_first(questions, names, "path_vqa")
    rows = read_json(file) if file.suffix == ".json" else read_plain_pickle(file)
    if not isinstance(rows, list):
        raise ValueError(f"{file} holds a {type(rows).__name__}, not a list of rows: give the release's file.")
    return build_vqa_dataset(RowSource(file, bad_rows).convert_files(rows, partial(_to_schema, images)))


def _to_schema(images: Path, row: Mapping[str, Any]) -> VqaRow:
    image_id = as_image_name(row["img_id"] if "img_id" in row else row["image"])
    return {
        "image": str(images / f"{image_id}.jpg"),
        "question": as_question(row["sent"] if "sent" in row else row["question"]),
        "answer": as_answer(_best_label(row["label"]) if "label" in row else row.get("answer")),
        "question_type": as_cell(row.get("question_type")),
        "image_id": image_id,
        "question_id": as_cell(row.get("question_id")),
    }


def _best_label(label: Any) -> Any:
    # Answers with their scores, as LXMERT takes them; the release has one of score 1 for each question.
    if not isinstance(label, dict) or not label:
        raise ValueError(f"the label is {label!r}, not a dictionary of answers and their scores.")
    return max(label, key=label.__getitem__)


class _PlainUnpickler(pickle._Unpickler):
    # Of the two that Python has the slow one: nine bytes can make the fast one ask for gigabytes of memory.

    def find_class(self, module: str, name: str) -> Any:
        # Dictionaries, lists, tuples, texts and numbers need no class: whatever asks for one could run any code.
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_plain_pickle(path: Path) -> Any:
    """What a pickle file of dictionaries, lists, texts and numbers holds.

    Raises:
        ValueError: If the file is damaged or holds anything else; nothing of it has been run then.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except Exception as error:  # a damaged pickle raises errors of every kind
        raise ValueError(
            f"{path} cannot be read as a pickle of plain lists and dictionaries ({error}): give the release's file."
        ) from None
