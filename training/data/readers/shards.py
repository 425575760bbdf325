"""Shards that a stream is read from, a file at a time: Parquet, and WebDataset's tar files."""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets import Features, Image, IterableDataset, IterableDatasetDict, List, Value
from datasets.packaged_modules.webdataset.webdataset import base_plus_ext
from transformers.utils import logging

from ..shown_values import shown
from .table_files import SPLIT_NAMES, check_parts, split_of

logger = logging.get_logger(__name__)

# By suffix, what reads them.
BUILDERS = {".parquet": "parquet", ".tar": "webdataset"}

# Of a WebDataset row: its name, and the file that it comes from.
_KEY, _FILE = "__key__", "__url__"

# What datasets leaves beside the Parquet files that it writes.
INFOS = "dataset_infos.json"


def find_shards(path: Path) -> dict[str, list[Path]]:
    """By split, the shards of a folder, or a single file; none where it holds no shards, or other tables too.

    Shards lie in the folder itself, in its `data/` or in folders of the splits' names. The split is that of the file's
    name or of its folder's; where no name says one, all are "train".

    Raises:
        ValueError: If there are Parquet and tar files, some names say a split and others none, or several files are of
            one split by their names and no numbered parts of it.
    """
    files = (
        [path] if path.is_file() else sorted(file for file in (*path.glob("*"), *path.glob("*/*")) if file.is_file())
    )
    shards = [file for file in files if file.suffix.lower() in BUILDERS]
    if not shards or any(
        file.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl") for file in files if file.name != INFOS
    ):
        return {}
    if len({file.suffix.lower() for file in shards}) > 1:
        raise ValueError(f"{path} holds Parquet and tar files: give the folder of one of them.")
    splits = {file: split_of(file) or SPLIT_NAMES.get(file.parent.name.lower()) for file in shards}
    if unnamed := [file.name for file, split in splits.items() if split is None]:
        if len(unnamed) < len(shards):
            raise ValueError(
                f"{path}: {shown(unnamed[0])} is of no split by its name, and others are: let all names begin with "
                "train, validation or test, or move it away."
            )
        splits = dict.fromkeys(shards, "train")
    found: dict[str, list[Path]] = {}
    for file, split in splits.items():
        found.setdefault(str(split), []).append(file)
    for split, several in found.items():
        check_parts(split, [file for file in several if split_of(file)])
    return found


def stream_shards(shards: Mapping[str, Sequence[Path]], image_column: str) -> IterableDatasetDict:
    """Shards as streams, by split; of tar files the rows of `with_plain_columns`.

    Raises:
        ValueError: If a key of a tar file has a file of which the first key of its split has no like: datasets takes
            the columns from the first keys, and would leave it out in silence.
    """
    names = {split: [str(file) for file in files] for split, files in shards.items()}
    builder = BUILDERS[next(iter(shards.values()))[0].suffix.lower()]
    splits = datasets.load_dataset(builder, data_files=names, streaming=True)
    if builder == "webdataset":
        _check_tar_columns(shards)
        return IterableDatasetDict({name: with_plain_columns(rows, image_column) for name, rows in splits.items()})
    return splits


def _check_tar_columns(shards: Mapping[str, Sequence[Path]]) -> None:
    for split, files in shards.items():
        first, columns = None, set()
        for file in files:
            with tarfile.open(file) as archive:
                for entry in archive:
                    key, column = base_plus_ext(entry.name)
                    if key is None or not entry.isfile():
                        continue
                    first = first or key
                    if key == first:
                        columns.add(column)
                    elif column not in columns:
                        raise ValueError(
                            f"{file}: {shown(key)} has a file .{column}, and the first study of {split}, "
                            f"{shown(first)}, has none, so that it would be left out. Let the first study have all "
                            "files that any has, or keep the studies in Parquet files, whose rows hold lists of images."
                        )


def with_plain_columns(rows: IterableDataset, image_column: str) -> IterableDataset:
    """WebDataset rows with the columns that tables have.

    A row of WebDataset is the files of one key, such as `s1.jpg`, `s1.txt` and `s1.json`. What the JSON file holds
    becomes columns, text of the `txt` file is `text`, the key is `study_id` where there is no such column, and all
    images of a key are `image`, in the order of their names: `s1.frontal.jpg` before `s1.lateral.jpg`.

    Args:
        rows: As datasets' "webdataset" gives them.
        image_column: Where it is one of the files' extensions, such as "jpg", that column stays, and is the only one.
    """
    features = rows.features or {}
    images = sorted(name for name, feature in features.items() if isinstance(feature, Image))
    plain = {image_column: features[image_column]} if image_column in images else {"image": List(Image())}
    held = features.get("json")
    columns: dict[str, Any] = dict(held) if isinstance(held, dict) else {}
    columns |= {name: feature for name, feature in features.items() if name not in (*images, "json", _KEY, _FILE)}
    if "txt" in columns and "text" not in columns:
        columns["text"] = columns.pop("txt")
    named = Features(columns | {"study_id": columns.get("study_id", Value("string"))} | plain)

    def convert(table: pa.Table) -> pa.Table:
        """At most 100 rows; of two cells of one name that of the JSON counts."""
        made = []
        for row in table.to_pylist():
            cells = {**row, **(row.get("json") or {})}
            cells = {"text": cells.get("txt"), "study_id": row[_KEY], **cells}
            cells["image"] = [row[name] for name in images if row.get(name) is not None]
            made.append({name: cells.get(name) for name in named})
        return pa.Table.from_pylist(made, schema=named.arrow_schema)

    arrow, left_out = rows.with_format("arrow"), [name for name in features if name not in named]
    return arrow.map(convert, batched=True, batch_size=100, features=named, remove_columns=left_out).with_format(None)
