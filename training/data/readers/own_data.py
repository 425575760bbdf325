"""The user's own questions: a table of images, questions and answers on disk or on the Hub."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, DatasetDict, Features, Image, Value
from transformers.utils import logging

from ..schema import (
    KIND_COLUMNS,
    VQA_FEATURES,
    as_answer,
    as_answer_type,
    as_cell,
    as_image_name,
    as_question,
    build_vqa_dataset,
)
from ..zipped_images import is_zipped, list_zip, zipped_path
from .bad_rows import (
    BadRows,
    Rows,
    path_cell,
    usable_rows,
    with_present_images,
    with_question_ids,
    with_readable_pictures,
)
from .table_files import SPLIT_NAMES, Table, _read_table, split_files, with_class_names

logger = logging.get_logger(__name__)


@dataclass
class _Taken:
    """Of a split, over its files: which ids of questions are taken, with where, and the first picture of image ids."""

    question_ids: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)


def load_own_data(
    name_or_path: str | os.PathLike[str],
    image_column: str = "image",
    question_column: str = "question",
    answer_column: str = "answer",
    image_dir: str | os.PathLike[str] | None = None,
    on_bad_row: str = "error",
) -> DatasetDict:
    """Read a CSV, JSON, JSON Lines or Parquet file, a folder of them, or a data set of the Hub, into the schema.

    A folder (or its `data/`) holds files named train*, validation* (or val*, dev*) and test*; a single file is of
    the split that its name begins with, as `test_b.csv`, else "train". The image column holds pictures embedded by
    datasets, or paths: relative to `image_dir`, a folder or a zip, where it is given; otherwise relative to the
    file, and those not there are looked up in the `images.zip` beside it. Columns named `answer_type`,
    `question_type`, `modality`, `organ`, `image_id` and `question_id` are used where present; otherwise the image id is
    the path as written, or a hash of the embedded picture, and the question id is `<image id>|<question>`.

    Every different picture is decoded once here, so that a damaged one does not stop a training that runs already.

    Raises:
        FileNotFoundError: when nothing that can be read is there, or an image is missing.
        ValueError: when a column that was asked for does not exist, a file is damaged or has no rows, or a row is bad
            and `on_bad_row` is "error".
    """
    columns = {"image": image_column, "question": question_column, "answer": answer_column}
    bad_rows = BadRows(on_bad_row)
    splits = DatasetDict(
        {
            split: _read_split(tables, columns, image_dir, bad_rows)
            for split, tables in _find_splits(name_or_path).items()
        }
    )
    bad_rows.report()
    return splits


def load_questions(
    name_or_path: str | os.PathLike[str],
    image_column: str = "image",
    question_column: str = "question",
    image_dir: str | os.PathLike[str] | None = None,
    on_bad_row: str = "error",
) -> Dataset:
    """Rows to be answered, in the order of the file or files; whatever answers they have are left out.

    Takes and raises what `load_own_data` does.
    """
    columns = {"image": image_column, "question": question_column}
    bad_rows = BadRows(on_bad_row)
    tables = [table for tables in _find_splits(name_or_path).values() for table in tables]
    questions = _read_split(tables, columns, image_dir, bad_rows)
    bad_rows.report()
    return questions


def _find_splits(name_or_path: str | os.PathLike[str]) -> dict[str, list[tuple[Path | str, Table]]]:
    """By split, the tables of a file, folder or Hub id, each with the name that messages give it."""
    if Path(name_or_path).exists():
        files = split_files(Path(name_or_path))
        return {split: [(path, _read_table(path)) for path in paths] for split, paths in files.items()}
    hub = datasets.load_dataset(str(name_or_path))
    return {SPLIT_NAMES.get(split, split): [(str(name_or_path), table)] for split, table in hub.items()}


def _read_split(
    tables: Iterable[tuple[Path | str, Table]],
    columns: dict[str, str],
    image_dir: str | os.PathLike[str] | None,
    bad_rows: BadRows,
) -> Dataset:
    taken = _Taken()
    parts, sources = [], []
    for source, table in tables:
        _check_columns(table, columns, source)
        table = with_class_names(table) if isinstance(table, Dataset) else table
        read = _read_embedded if _has_embedded_images(table, columns["image"], source) else _read_paths
        parts.append(read(table, columns, source, image_dir, bad_rows, taken))
        sources.append(str(source))
    if not any(map(len, parts)):
        raise ValueError(f"{', '.join(sources)}: no row is left to use. {len(bad_rows.skipped)} were skipped as bad.")
    return datasets.concatenate_datasets(parts)


def _check_columns(table: Table, columns: dict[str, str], source: Path | str) -> None:
    present = _column_names(table)
    missing = [column for column in columns.values() if column not in present]
    if missing == ["answer"]:
        logger.warning(f"{source} has no column 'answer': its answers are unknown. Columns: {present}.")
    elif missing:
        raise ValueError(
            f"{source} has no column {', '.join(map(repr, missing))}; it has {', '.join(present) or 'none'}. "
            "Name yours with image_column, question_column and answer_column."
        )


def _column_names(table: Table) -> list[str]:
    if isinstance(table, Dataset):
        return table.column_names
    return list(dict.fromkeys(name for row in table if isinstance(row, dict) for name in row if name is not None))


def _has_embedded_images(table: Table, column: str, source: Path | str) -> bool:
    if not isinstance(table, Dataset) or isinstance(feature := table.features[column], Value):
        return False
    if isinstance(feature, Image) or (isinstance(feature, dict) and feature.keys() == {"bytes", "path"}):
        return True
    raise ValueError(f"{source}: the column {column!r} holds {feature}, neither paths nor pictures.")


def _read_paths(
    table: Table,
    columns: dict[str, str],
    source: Path | str,
    image_dir: str | os.PathLike[str] | None,
    bad_rows: BadRows,
    taken: _Taken,
) -> Dataset:
    find_image = _image_finder(Path(source).parent, image_dir)
    rows = usable_rows(table, partial(_row_with_path, columns, find_image), source, bad_rows)
    zipped = {number: row for number, row in rows.items() if is_zipped(row["image"])}
    plain = with_present_images({number: rows[number] for number in rows.keys() - zipped.keys()}, source, bad_rows)
    rows = {number: row for number, row in rows.items() if number in zipped or number in plain}
    pictures = {number: row["image"] for number, row in rows.items()}
    rows = _finish(rows, source, bad_rows, taken, pictures, path_cell)
    return build_vqa_dataset(list(rows.values()), KIND_COLUMNS)


def _row_with_path(
    columns: dict[str, str], find_image: Callable[[str], str], row: Mapping[str, Any]
) -> dict[str, str | None]:
    name = as_image_name(row.get(columns["image"]))
    return {**_texts(columns, row), "image": find_image(name), "image_id": as_cell(row.get("image_id")) or name}


def _image_finder(folder: Path, image_dir: str | os.PathLike[str] | None) -> Callable[[str], str]:
    """A function from an image's name in the file to the path of an image cell."""
    place = Path(image_dir) if image_dir is not None else folder
    if image_dir is not None and not place.exists():
        raise FileNotFoundError(f"image_dir {place} does not exist: give the folder or the zip of the images.")
    archive = place if place.is_file() else folder / "images.zip"
    if place.is_dir() and (image_dir is not None or not archive.is_file()):
        return lambda name: str(place / name)
    names = list_zip(archive)

    def find(name: str) -> str:
        on_disk = place.is_dir() and (place / name).is_file()
        return str(place / name) if on_disk else zipped_path(archive, names, name)

    return find


def _texts(columns: dict[str, str], row: Mapping[str, Any]) -> dict[str, str | None]:
    if None in row:  # where csv puts the cells that no column names
        raise ValueError(f"{row[None]} stand behind the last column: quote texts that hold a comma.")
    return {
        "question": as_question(row.get(columns["question"])),
        "answer": as_answer(row.get(columns["answer"])) if "answer" in columns else None,
        "answer_type": as_answer_type(row.get("answer_type")),
        "question_type": as_cell(row.get("question_type")),
        "question_id": as_cell(row.get("question_id")),
        **{name: as_cell(row.get(name)) for name in KIND_COLUMNS},
    }


def _read_embedded(
    table: Dataset,
    columns: dict[str, str],
    source: Path | str,
    image_dir: str | os.PathLike[str] | None,
    bad_rows: BadRows,
    taken: _Taken,
) -> Dataset:
    images = table.select_columns(columns["image"])
    if columns["image"] != "image":
        images = images.rename_column(columns["image"], "image")
    undecoded = images.cast_column("image", Image(decode=False))
    hashes = [_embedded_id(cell) for cell in undecoded["image"]]
    texts = table.remove_columns(columns["image"]).to_list()
    rows = usable_rows(
        [row | {"embedded": own} for row, own in zip(texts, hashes, strict=True)] if texts else [],
        partial(_row_with_picture, columns),
        source,
        bad_rows,
    )
    first = {own: number for number, own in reversed(list(enumerate(hashes)))}
    keys = {number: hashes[number] for number in rows}
    rows = _finish(rows, source, bad_rows, taken, keys, lambda own: undecoded[first[own]]["image"])
    texts_alone = {name: feature for name, feature in VQA_FEATURES.items() if name != "image"}
    features = Features(texts_alone | {name: Value("string") for name in KIND_COLUMNS})
    columns_of_text = {name: [row[name] for row in rows.values()] for name in features}
    chosen = images.cast_column("image", Image()).select(list(rows))
    return datasets.concatenate_datasets([chosen, Dataset.from_dict(columns_of_text, features=features)], axis=1)


def _row_with_picture(columns: dict[str, str], row: Mapping[str, Any]) -> dict[str, str | None]:
    if row["embedded"] is None:
        raise ValueError("the image is empty: every row needs one.")
    return {**_texts(columns, row), "image_id": as_cell(row.get("image_id")) or row["embedded"]}


def _embedded_id(image: dict[str, Any] | None) -> str | None:
    # The path beside embedded bytes is not trusted: mirrors give every picture the same one, or none.
    if image is None:
        return None
    return hashlib.sha256(image["bytes"]).hexdigest()[:16] if image["bytes"] else image["path"]


def _finish(
    rows: Rows,
    source: Path | str,
    bad_rows: BadRows,
    taken: _Taken,
    pictures: Mapping[int, str],
    cell_of: Callable[[str], Any],
) -> Rows:
    """The checks that paths and embedded pictures share; `pictures` and `cell_of` as `with_readable_pictures` says."""
    rows = _with_one_picture_an_id(rows, source, bad_rows, pictures, taken.pictures)
    rows = with_readable_pictures(rows, source, bad_rows, pictures, cell_of)
    return with_question_ids(rows, source, bad_rows, taken.question_ids)


def _with_one_picture_an_id(
    rows: Rows, source: Path | str, bad_rows: BadRows, pictures: Mapping[int, str], first: dict[str, str]
) -> Rows:
    # A batch holds one picture for an image id, so a second one would never be seen.
    usable: Rows = {}
    for number, row in rows.items():
        if first.setdefault(row["image_id"], pictures[number]) == pictures[number]:
            usable[number] = row
            continue
        message = f"the image id {row['image_id']!r} names {pictures[number]} here and {first[row['image_id']]} before."
        bad_rows.add(source, number, ValueError(message))
    return usable
