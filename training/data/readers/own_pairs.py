"""The user's own image-report pairs: a table of images and texts on disk or on the Hub."""

import hashlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, List, Value
from datasets.utils.file_utils import xopen

from ..pretraining_schema import (
    PER_IMAGE,
    PRETRAINING_FEATURES,
    at_places,
    build_pretraining_dataset,
    drop_empty,
    has_words,
    is_picture,
    keep_usable,
    report_left_out,
)
from ..schema import as_text
from .table_files import READERS, SPLIT_NAMES, SUFFIXES, split_files, with_class_names

Table = Dataset | IterableDataset


def load_own_pairs(
    name_or_path: str | os.PathLike[str],
    image_column: str = "image",
    text_column: str | None = "text",
    study_column: str = "study_id",
    streaming: bool = False,
) -> DatasetDict | IterableDatasetDict:
    """Read a CSV, JSON, JSON Lines or Parquet file, a folder, or a data set of the Hub, into the schema.

    A folder holds files named train*, validation* (or val*) and test*, itself or in its `data/`; or pictures with a
    `metadata.csv` or `metadata.jsonl`, as the datasets library's "imagefolder" reads them. A single file with another
    name is "train". A cell of the image column is a path relative to the file, an embedded picture, or a list of
    either, the views of a study. Other columns are kept; those of CSV, and what is no list in JSON, as text.

    Rows without an image that can be read, or without text where it is asked for, are left out, counted and reported; a
    stream leaves them out without a count.

    Args:
        name_or_path: the file, folder or Hub id.
        image_column: the column of images.
        text_column: the column of reports or captions; None for images alone, whose `text` is None.
        study_column: the column of study ids, if there is one; else the first image's path as written, or a hash of
            the embedded picture.
        streaming: read Parquet files and Hub sets bit by bit, without a copy on disk: an `IterableDatasetDict`.

    Raises:
        FileNotFoundError: when nothing that can be read is there, or no row is usable.
        ValueError: when a column that was asked for does not exist, or its texts are lists.
    """
    path, source = Path(name_or_path), str(name_or_path)
    columns = {"images": image_column, "text": text_column, "study_id": study_column}
    if not path.exists():
        return _convert_splits(datasets.load_dataset(source, streaming=streaming), columns, source)
    if any(path.glob("metadata.*")) or any(path.glob("*/metadata.*")):
        folder = datasets.load_dataset("imagefolder", data_dir=source, streaming=streaming)
        return _convert_splits(folder, columns, source)
    files = _split_files(path)
    if streaming and all(file.suffix == ".parquet" for paths in files.values() for file in paths):
        names = {split: [str(file) for file in paths] for split, paths in files.items()}
        parquet = datasets.load_dataset("parquet", data_files=names, streaming=True)
        return _convert_splits(parquet, columns, source, next(iter(files.values()))[0].parent)
    splits = drop_empty(DatasetDict({split: _read_files(paths, columns) for split, paths in files.items()}), source)
    if not streaming:
        return splits
    return IterableDatasetDict({split: rows.to_iterable_dataset() for split, rows in splits.items()})


def _split_files(path: Path) -> dict[str, list[Path]]:
    files = split_files(path)
    if path.is_file() and path.suffix not in SUFFIXES:
        raise FileNotFoundError(f"{path} is none of {', '.join(SUFFIXES)}.")
    return files


def _read_files(files: list[Path], columns: Mapping[str, str | None]) -> Dataset:
    return datasets.concatenate_datasets([_read_file(file, columns) for file in files])


def _read_file(file: Path, columns: Mapping[str, str | None]) -> Dataset:
    if file.suffix == ".parquet":
        table = with_class_names(Dataset.from_parquet(str(file)))
        feature = table.features.get(columns["images"])
        if not isinstance(feature.feature if isinstance(feature, List) else feature, Value):
            return _convert_table(table, columns, str(file))
        # Not by `map`, whose cache would not notice a picture that was added.
        return _from_rows(table.to_list(), columns, file)
    return _from_rows(READERS[file.suffix](file), columns, file)


def _from_rows(rows: list[dict[str, Any]], columns: Mapping[str, str | None], file: Path) -> Dataset:
    for number, row in enumerate(rows):
        place = f"{file}: row {number} (counted from 0)"
        if not isinstance(row, dict):
            raise ValueError(f"{place} is {row!r}: give an object with the columns' names.")
        text = row.get(columns["text"])
        if None in row:  # where csv puts the cells that no column names
            raise ValueError(f"{place}: {row[None]} stand behind the last column: quote texts that hold a comma.")
        if isinstance(text, list | dict):
            raise ValueError(f"{place}: {columns['text']!r} is {text}: it must be one text.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    _check_columns(names, columns, str(file))
    others = [name for name in names if name not in columns.values() and name not in PRETRAINING_FEATURES]
    table = keep_usable([_row_to_schema(row, columns, others, file.parent) for row in rows], str(file))
    extra = {name: _feature([row[name] for row in table]) for name in others}
    return build_pretraining_dataset(table, extra)


def _row_to_schema(
    row: Mapping[str, Any], columns: Mapping[str, str | None], others: list[str], folder: Path
) -> dict[str, Any]:
    cells = _as_list(row.get(columns["images"]))
    places = [place for place, image in enumerate(cells) if image]
    images = [cells[place] for place in places]
    kept = {name: value if isinstance(value := row.get(name), list) else as_text(value) for name in others}
    return {
        "images": [folder / image for image in images],
        **({} if columns["text"] is None else {"text": as_text(row.get(columns["text"]))}),
        "study_id": as_text(row.get(columns["study_id"])) or (images[0] if images else None),
        **kept,
        **{name: at_places(kept[name], places, len(cells)) for name in PER_IMAGE if name in kept},
    }


def _feature(values: list[Any]) -> Any:
    inferred = Dataset.from_dict({"column": values}).features["column"]
    return Value("string") if inferred == Value("null") else inferred


def _as_list(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else [cell]


def _convert_splits(
    splits: DatasetDict | IterableDatasetDict,
    columns: Mapping[str, str | None],
    source: str,
    folder: Path | None = None,
) -> DatasetDict | IterableDatasetDict:
    tables = {name: _convert_table(table, columns, f"{source} {name}", folder) for name, table in splits.items()}
    converted = type(splits)({SPLIT_NAMES.get(name, name): table for name, table in tables.items()})
    return drop_empty(converted, source) if isinstance(converted, DatasetDict) else converted


def _convert_table(table: Table, columns: Mapping[str, str | None], source: str, folder: Path | None = None) -> Table:
    if isinstance(table, Dataset):
        table = with_class_names(table)
    if table.features is None:
        table = table._resolve_features()
    _check_columns(table.column_names, columns, source)
    if columns["text"] is not None and not isinstance(table.features[columns["text"]], Value):
        raise ValueError(f"{source}: column {columns['text']!r} holds {table.features[columns['text']]}, not texts.")
    replaced = {*columns.values(), *PRETRAINING_FEATURES}
    others = {name: feature for name, feature in table.features.items() if name not in replaced}
    features = Features({**PRETRAINING_FEATURES, **others})
    convert = partial(_convert_batch, columns=dict(columns), others=list(others), folder=folder)
    # Small batches: a thousand embedded pictures may be more than an Arrow array holds. Arrow's rows are undecoded.
    leave = [name for name in table.column_names if name not in features]
    options = {"batched": True, "batch_size": 100, "remove_columns": leave}
    converted = table.with_format("arrow").map(convert, features=features, **options).with_format(None)
    if isinstance(table, Dataset):
        _report(table, converted, columns, source)
    return converted


def _convert_batch(table: pa.Table, columns: dict[str, str | None], others: list[str], folder: Path | None) -> pa.Table:
    cells = [_as_list(cell) for cell in table[columns["images"]].to_pylist()]
    found = [[_find_picture(image, folder) if image else None for image in cell] for cell in cells]
    places = [[place for place, picture in enumerate(pictures) if picture] for pictures in found]
    texts = [None] * len(cells)
    if columns["text"] is not None:
        texts = [as_text(text) for text in table[columns["text"]].to_pylist()]
    studies = [None] * len(cells)
    if columns["study_id"] in table.column_names:
        studies = [as_text(study) for study in table[columns["study_id"]].to_pylist()]
    new = {
        "images": [[picture for picture in pictures if picture] for pictures in found],
        "text": texts,
        "study_id": [study or _first_id(cell) for study, cell in zip(studies, cells, strict=True)],
    }
    for name in others:
        new[name] = table[name]
        if name in PER_IMAGE:
            each = zip(table[name].to_pylist(), places, cells, strict=True)
            new[name] = pa.array([at_places(value, kept, len(cell)) for value, kept, cell in each], table[name].type)
    fields = [*PRETRAINING_FEATURES.arrow_schema, *(table.schema.field(name) for name in others)]
    worded = [columns["text"] is None or has_words(text) for text in texts]
    usable = [bool(kept) and words for kept, words in zip(places, worded, strict=True)]
    return pa.table(new, schema=pa.schema(fields)).filter(pa.array(usable))


def _find_picture(image: dict[str, Any] | str, folder: Path | None) -> dict[str, Any] | None:
    """The picture of a cell as `datasets.Image` stores it, or None where there is none to be opened."""
    content, path = (image["bytes"], image["path"]) if isinstance(image, dict) else (None, image)
    if not content and "://" in path:
        content = _fetch(path)
    elif not content and folder is not None:
        path = str(folder / path)
    return {"bytes": content, "path": path} if is_picture(path if content is None else content) else None


def _fetch(path: str) -> bytes:
    # A stream names pictures inside of archives or on the Hub, which only datasets can open.
    try:
        with xopen(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _first_id(cell: list[Any]) -> str | None:
    return next((_id(image) for image in cell if image), None)


def _id(image: dict[str, Any] | str) -> str:
    # The path beside embedded bytes is not trusted: mirrors give every picture the same one, or none.
    if isinstance(image, str):
        return image
    return hashlib.sha256(image["bytes"]).hexdigest()[:16] if image["bytes"] else image["path"]


def _report(table: Dataset, converted: Dataset, columns: Mapping[str, str | None], source: str) -> None:
    left_out = len(table) - len(converted)
    if not left_out:
        return
    texts = [] if columns["text"] is None else table[columns["text"]]
    textless = sum(not has_words(as_text(text)) for text in texts)
    report_left_out(source, len(table), left_out - textless, textless)


def _check_columns(names: list[str], columns: Mapping[str, str | None], source: str) -> None:
    missing = [columns[name] for name in ("images", "text") if columns[name] not in (*names, None)]
    if missing:
        raise ValueError(
            f"{source} has no column {', '.join(map(repr, missing))}; it has {', '.join(names)}. "
            "Name yours with image_column and text_column."
        )
