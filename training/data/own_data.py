"""The user's own questions: a table of images, questions and answers on disk or on the Hub."""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, DatasetDict, Features, Image, Value
from transformers.utils import logging

from .schema import VQA_FEATURES, as_answer_type, as_text, build_vqa_dataset, check_images, read_json

logger = logging.get_logger(__name__)

# What files and Hub sets call their splits, longest first: "validation" also starts with "val".
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


def load_own_data(
    name_or_path: str | os.PathLike[str],
    image_column: str = "image",
    question_column: str = "question",
    answer_column: str = "answer",
) -> DatasetDict:
    """Read a CSV, JSON, JSON Lines or Parquet file, a folder of them, or a data set of the Hub, into the schema.

    A folder (or its `data/`) holds files named train*, validation* (or val*) and test*; a single file with another
    name is "train". The image column holds paths relative to the file, or pictures embedded by datasets. Columns
    named `answer_type`, `question_type`, `image_id` and `question_id` are used where present; otherwise the image id
    is the path as written, or a hash of the embedded picture, and the question id is `<image id>|<question>`.

    Raises:
        FileNotFoundError: when nothing that can be read is there, or an image is missing.
        ValueError: when a column that was asked for does not exist.
    """
    columns = {"image": image_column, "question": question_column, "answer": answer_column}
    if not Path(name_or_path).exists():
        hub = datasets.load_dataset(str(name_or_path))
        return DatasetDict(
            {
                SPLIT_NAMES.get(split, split): _to_schema(table, columns, str(name_or_path))
                for split, table in hub.items()
            }
        )
    files = _split_files(Path(name_or_path))
    return DatasetDict({split: _read_split(paths, columns) for split, paths in files.items()})


def _split_files(path: Path) -> dict[str, list[Path]]:
    if path.is_file():
        return {_split_of(path) or "train": [path]}
    found = sorted(file for folder in (path, path / "data") for file in folder.glob("*") if file.suffix in SUFFIXES)
    files: dict[str, list[Path]] = {}
    for file in found:
        if split := _split_of(file):
            files.setdefault(split, []).append(file)
    if not files:
        raise FileNotFoundError(f"{path} holds no train*, validation* or test* file of {', '.join(SUFFIXES)}.")
    return files


def _split_of(file: Path) -> str | None:
    return next((split for name, split in SPLIT_NAMES.items() if file.name.lower().startswith(name)), None)


def _read_split(files: Sequence[Path], columns: dict[str, str]) -> Dataset:
    return datasets.concatenate_datasets([_read_file(file, columns) for file in files])


def _read_file(file: Path, columns: dict[str, str]) -> Dataset:
    if file.suffix == ".parquet":
        return _to_schema(Dataset.from_parquet(str(file)), columns, file)
    if file.suffix not in READERS:
        raise ValueError(f"{file} is none of {', '.join(SUFFIXES)}.")
    return _to_schema(_as_text_table(READERS[file.suffix](file)), columns, file)


def _read_csv(file: Path) -> list[dict[str, Any]]:
    # Not through pandas, to which the answers "None" and "NA" are missing values and the image "007" is 7.
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def _read_json_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".json": read_json,
    ".jsonl": _read_json_lines,
}


def _as_text_table(rows: list[dict[str, Any]]) -> Dataset:
    # Every cell as text: Arrow refuses a column of words and numbers, which is what answers are.
    names = dict.fromkeys(name for row in rows for name in row if name is not None)
    features = Features({name: Value("string") for name in names})
    return Dataset.from_dict({name: [as_text(row.get(name)) for row in rows] for name in names}, features=features)


def _to_schema(table: Dataset, columns: dict[str, str], source: Path | str) -> Dataset:
    _check_columns(table, columns, source)
    images, image_ids = _read_images(table, columns["image"], source)
    questions = list(table[columns["question"]])
    rows = {
        "question": questions,
        "answer": _column(table, columns["answer"], as_text),
        "answer_type": _column(table, "answer_type", as_answer_type),
        "question_type": _column(table, "question_type", as_text),
        "image_id": _column(table, "image_id", as_text) if "image_id" in table.column_names else image_ids,
    }
    fallback = [f"{image_id}|{question}" for image_id, question in zip(rows["image_id"], questions, strict=True)]
    rows["question_id"] = _column(table, "question_id", as_text) if "question_id" in table.column_names else fallback
    text = Features({name: feature for name, feature in VQA_FEATURES.items() if name != "image"})
    return datasets.concatenate_datasets([images, Dataset.from_dict(rows, features=text)], axis=1)


def _check_columns(table: Dataset, columns: dict[str, str], source: Path | str) -> None:
    missing = [column for column in columns.values() if column not in table.column_names]
    if missing == ["answer"]:
        logger.warning(f"{source} has no column 'answer': its answers are unknown. Columns: {table.column_names}.")
    elif missing:
        raise ValueError(
            f"{source} has no column {', '.join(map(repr, missing))}; it has {', '.join(table.column_names)}. "
            "Name yours with image_column, question_column and answer_column."
        )


def _column(table: Dataset, name: str, convert: Callable[[Any], str | None]) -> list[str | None]:
    return [convert(value) for value in table[name]] if name in table.column_names else [None] * len(table)


def _read_images(table: Dataset, column: str, source: Path | str) -> tuple[Dataset, list[str]]:
    """The column `image` alone, and an id for each of its rows."""
    if isinstance(table.features[column], Value):
        names = list(table[column])
        paths = [Path(source).parent / name for name in names]
        check_images(paths, Path(source))
        return build_vqa_dataset([{"image": str(path)} for path in paths]).select_columns("image"), names
    images = table.select_columns(column)
    if column != "image":
        images = images.rename_column(column, "image")
    undecoded = images.cast_column("image", Image(decode=False))
    return images.cast_column("image", Image()), [_embedded_id(image) for image in undecoded["image"]]


def _embedded_id(image: dict[str, Any]) -> str:
    # The path beside embedded bytes is not trusted: mirrors give every picture the same one, or none.
    return hashlib.sha256(image["bytes"]).hexdigest()[:16] if image["bytes"] else image["path"]
