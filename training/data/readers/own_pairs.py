"""The user's own image-report pairs: a table of images and texts on disk or on the Hub."""

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import datasets
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, Image, IterableDataset, IterableDatasetDict, List, Value
from datasets.utils.file_utils import xopen
from transformers.utils import logging

from ..images import ImageCell, image_id_of
from ..pretraining_schema import (
    PER_IMAGE,
    PRETRAINING_FEATURES,
    PretrainingRow,
    at_places,
    begins_like_an_image,
    build_pretraining_dataset,
    drop_empty,
    has_words,
    keep_usable,
    report_left_out,
)
from ..schema import as_cell, as_image_name, as_text, compare_counts
from ..shown_values import shown
from .shards import find_shards, stream_shards
from .table_files import (
    SUFFIXES,
    TableRow,
    by_split,
    check_columns,
    check_named_cells,
    column_names,
    is_table,
    load_from_hub,
    read_table,
    split_files,
    with_class_names,
)

logger = logging.get_logger(__name__)

PairTable = Dataset | IterableDataset

# Used where there is one; one of another name is there, or named wrongly.
STUDY_COLUMN = "study_id"


def load_own_pairs(
    name_or_path: str | os.PathLike[str],
    image_column: str = "image",
    text_column: str | None = "text",
    study_column: str = STUDY_COLUMN,
    streaming: bool = False,
) -> DatasetDict | IterableDatasetDict:
    """Read a CSV, JSON, JSON Lines or Parquet file, a folder, or a data set of the Hub, into the schema.

    A folder holds files named train*, validation* (or val*) and test*, itself or in its `data/`; or images with a
    `metadata.csv` or `metadata.jsonl`, as the datasets library's "imagefolder" reads them. A single file with another
    name is "train". A cell of the image column is a path relative to the file, an embedded image, or a list of
    either, the views of a study. Other columns are kept; those of CSV, and what is no list in JSON, as text.

    Rows without an image that can be read, or without text where it is asked for, are left out, counted and reported; a
    stream leaves them out without a count.

    Args:
        name_or_path: The file, folder or Hub id.
        image_column: The column of images.
        text_column: The column of reports or captions; None for images alone, whose `text` is None.
        study_column: The column of study ids, if there is one; else the first image's path in its plain form, or a hash
            of the embedded image.
        streaming: Read Parquet and WebDataset (tar) shards (see `find_shards` and `with_plain_columns`) and Hub sets
            bit by bit, without a copy on disk: an `IterableDatasetDict`.

    Raises:
        FileNotFoundError: If nothing that can be read is there, or no row is usable.
        ValueError: If a column that was asked for does not exist, or its texts are lists.
    """
    path = Path(name_or_path)
    source = _PairSource(str(name_or_path), image_column, text_column, study_column)
    if not path.exists():
        return source.read_splits(load_from_hub(source.name, streaming=streaming))
    if any(path.glob("metadata.*")) or any(path.glob("*/metadata.*")):
        return source.read_splits(datasets.load_dataset("imagefolder", data_dir=source.name, streaming=streaming))
    if streaming and (shards := find_shards(path)):
        folders = {split: files[0].parent for split, files in shards.items()}
        return source.read_splits(stream_shards(shards, image_column), folders)
    files = split_files(path)
    if path.is_file() and not is_table(path):
        raise FileNotFoundError(f"{path} is none of {', '.join(SUFFIXES)}.")
    splits = DatasetDict(
        {
            split: datasets.concatenate_datasets([source.of_file(file).read_file(file) for file in paths])
            for split, paths in files.items()
        }
    )
    usable = drop_empty(splits, source.name)
    if not streaming:
        return usable
    return IterableDatasetDict({split: rows.to_iterable_dataset() for split, rows in usable.items()})


def load_mirror(
    reader: str,
    data_dir: str | os.PathLike[str] | None,
    mirrors: Mapping[str, Mapping[str, int]],
    strict: bool,
) -> DatasetDict | None:
    """A data set of captioned images as the Hub's mirrors hold it: Parquet of image, image_id, caption and more.

    Args:
        reader: Its name, for messages.
        data_dir: A mirror's Hub id, or a folder with its Parquet files, itself or in its `data/`.
        mirrors: By Hub id the rows of each split.
        strict: Raise where the rows are not as many as in any mirror; otherwise the difference is logged.

    Returns:
        The splits; None where `data_dir` is no mirror.
    """
    name = str(data_dir)
    if data_dir is None or not (name in mirrors or any(any(Path(name, at).glob("*.parquet")) for at in (".", "data"))):
        return None
    splits = cast(DatasetDict, load_own_pairs(name, text_column="caption", study_column="image_id"))  # it is no stream
    meant = [name] if name in mirrors else sorted(mirrors, key=lambda mirror: mirrors[mirror] != splits.num_rows)
    compare_counts(f"{reader} (the mirror {meant[0]})", splits.num_rows, mirrors[meant[0]], strict)
    return splits


@dataclass(frozen=True)
class _PairSource:
    """Reads a file, a folder or a data set of the Hub into the schema.

    Args:
        name: Its name, for messages.
        image_column: What it calls `images`.
        text_column: What it calls `text`; None where no text is asked for.
        study_column: What it calls `study_id`.
        folder: Where the paths of its images begin; None for a source whose paths are whole.
    """

    name: str
    image_column: str
    text_column: str | None
    study_column: str
    folder: Path | None = None

    def of_file(self, file: Path) -> "_PairSource":
        """One of the files of this source."""
        return replace(self, name=str(file), folder=file.parent)

    def read_splits(self, splits: Any, folders: Mapping[str, Path] | None = None) -> DatasetDict | IterableDatasetDict:
        """The usable rows of splits as datasets gives them, by the package's names of splits.

        Args:
            splits: By their own names.
            folders: In which the paths of a split's images begin; None: in none.
        """
        tables: dict[Any, Any] = {}
        for name, table in splits.items():
            folder = folders[str(name)] if folders else self.folder
            reader = replace(self, name=f"{self.name} {name}", folder=folder)
            tables[name] = reader.read_table(table)
        tables = by_split(self.name, tables)
        if isinstance(splits, IterableDatasetDict):
            return IterableDatasetDict(tables)
        return drop_empty(DatasetDict(tables), self.name)

    def read_file(self, file: Path) -> Dataset:
        """The usable rows of a file."""
        table = read_table(file)
        if not isinstance(table, Dataset):
            return self._read_rows(table, file.parent)
        table = with_class_names(table)
        feature = table.features.get(self.image_column)
        if isinstance(feature.feature if isinstance(feature, List) else feature, Value):
            # Not by `map`, whose cache would not notice an image that was added.
            return self._read_rows(table.to_list(), file.parent)
        return cast(Dataset, replace(self, folder=None).read_table(table))

    def read_table(self, table: PairTable) -> PairTable:
        """The usable rows of a table; those of a stream are read when they are used."""
        if isinstance(table, Dataset):
            table = with_class_names(table)
        elif table.features is None:
            table = table._resolve_features()
        present = cast(Features, table.features)
        self._check_columns(list(present))
        if self.text_column is not None and not isinstance(present[self.text_column], Value):
            raise ValueError(f"{self.name}: column {self.text_column!r} holds {present[self.text_column]}, not texts.")
        shown_as = present[self.image_column]
        image = shown_as.feature if isinstance(shown_as, List) else shown_as
        if not (
            isinstance(image, Image)
            or (isinstance(image, dict) and image.keys() == {"bytes", "path"})
            or (isinstance(image, Value) and "string" in image.dtype)
        ):
            raise ValueError(f"{self.name}: column {self.image_column!r} holds {shown_as}, neither paths nor images.")
        others = {name: feature for name, feature in present.items() if name not in self._replaced}
        features = Features({**PRETRAINING_FEATURES, **others})
        # Small batches: a thousand embedded images may be more than an Arrow array holds. Arrow's rows are undecoded.
        converted = table.with_format("arrow").map(
            self._convert_batch,
            fn_kwargs={"others": list(others)},
            features=features,
            batched=True,
            batch_size=100,
            remove_columns=[name for name in present if name not in features],
        )
        if isinstance(table, Dataset) and isinstance(converted, Dataset) and len(converted) < len(table):
            texts = [] if self.text_column is None else table[self.text_column]
            textless = sum(not has_words(as_cell(text)) for text in texts)
            report_left_out(self.name, len(table), len(table) - len(converted) - textless, textless)
        return converted.with_format(None)

    @property
    def _replaced(self) -> set[str | None]:
        return {self.image_column, self.text_column, self.study_column, *PRETRAINING_FEATURES}

    def _check_columns(self, present: list[str]) -> None:
        named = () if self.study_column == STUDY_COLUMN else (self.study_column,)
        wanted = [column for column in (self.image_column, self.text_column, *named) if column is not None]
        check_columns(present, wanted, self.name, "image_column, text_column and study_column")

    def _read_rows(self, rows: list[TableRow], folder: Path) -> Dataset:
        for number, row in enumerate(rows):
            place = f"{self.name}: row {number} (counted from 0)"
            if not isinstance(row, dict):
                raise ValueError(f"{place} is {shown(row)}: give an object with the columns' names.")
            try:
                check_named_cells(row)
                for column in filter(None, (self.text_column, self.study_column)):
                    as_cell(row.get(column))
                images = _as_list(row.get(self.image_column))
                for image in filter(None, images):
                    as_image_name(image)
                _check_views(row.get("view_positions"), images)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
        names = column_names(rows)
        self._check_columns(names)
        others = [name for name in names if name not in self._replaced]
        usable = keep_usable([self._to_schema(row, others, folder) for row in rows], self.name)
        features = {name: _feature(name, [row.get(name) for row in usable]) for name in others}
        if unkept := [name for name, feature in features.items() if feature is None]:
            why = "columns whose values are of several kinds, too deep or no Unicode are left out"
            logger.warning(f"{self.name}: {why}: {', '.join(map(shown, unkept))}.")
        return build_pretraining_dataset(usable, {name: kept for name, kept in features.items() if kept is not None})

    def _to_schema(self, row: Mapping[str, Any], others: list[str], folder: Path) -> PretrainingRow:
        cells = _as_list(row.get(self.image_column))
        places = [place for place, image in enumerate(cells) if image]
        images = [as_image_name(cells[place]) for place in places]
        kept = {name: value if isinstance(value := row.get(name), list | bytes) else as_text(value) for name in others}
        schema = {
            "images": [folder / image for image in images],
            **({} if self.text_column is None else {"text": as_cell(row.get(self.text_column))}),
            "study_id": as_cell(row.get(self.study_column)) or (posixpath.normpath(images[0]) if images else None),
            **kept,
            **{name: at_places(kept[name], places, len(cells)) for name in PER_IMAGE if name in kept},
        }
        return cast(PretrainingRow, schema)  # with columns of one's own, which no type can name

    def _convert_batch(self, table: pa.Table, others: list[str]) -> pa.Table:
        cells = [_as_list(cell) for cell in table[self.image_column].to_pylist()]
        found = [[self._find_image(image) if image else None for image in cell] for cell in cells]
        places = [[place for place, image in enumerate(images) if image] for images in found]
        texts: list[str | None] = [None] * len(cells)
        if self.text_column is not None:
            texts = self._cells(table, self.text_column)
        studies: list[str | None] = [None] * len(cells)
        if self.study_column in table.column_names:
            studies = self._cells(table, self.study_column)
        new: dict[str, Any] = {
            "images": [[image for image in images if image] for images in found],
            "text": texts,
            "study_id": [
                study or next((image_id_of(image) for image in cell if image), None)
                for study, cell in zip(studies, cells, strict=True)
            ],
        }
        for name in others:
            new[name] = table[name]
            if name == "view_positions":
                for positions, cell, study in zip(table[name].to_pylist(), cells, new["study_id"], strict=True):
                    try:
                        _check_views(positions, cell)
                    except ValueError as error:
                        raise ValueError(f"{self.name}: study {shown(study)}: {error}") from None
            if name in PER_IMAGE:
                each = zip(table[name].to_pylist(), places, cells, strict=True)
                values = [at_places(value, kept, len(cell)) for value, kept, cell in each]
                new[name] = pa.array(values, table[name].type)
        fields = [*PRETRAINING_FEATURES.arrow_schema, *(table.schema.field(name) for name in others)]
        worded = [self.text_column is None or has_words(text) for text in texts]
        usable = [bool(kept) and words for kept, words in zip(places, worded, strict=True)]
        return pa.table(new, schema=pa.schema(fields)).filter(pa.array(usable))

    def _cells(self, table: pa.Table, column: str) -> list[str | None]:
        try:
            return [as_cell(value) for value in table[column].to_pylist()]
        except ValueError as error:
            raise ValueError(f"{self.name}: column {column!r}: {error}") from None

    def _find_image(self, image: ImageCell | str) -> ImageCell | None:
        """The cell as `datasets.Image` stores it, or None where there is nothing that can be opened."""
        content, path = (None, image) if isinstance(image, str) else (image["bytes"], image["path"])
        if not content and path is not None and "://" in path:
            content = _fetch(path)
        elif not content and path is not None and self.folder is not None:
            path = str(self.folder / path)
        opened = path if content is None else content
        return {"bytes": content, "path": path} if opened is not None and begins_like_an_image(opened) else None


def _feature(name: str, values: list[Any]) -> Any:
    """What a column of these values is kept as; None where it cannot be."""
    try:
        inferred = Dataset.from_dict({name: values}).features[name]
    except Exception:  # of Arrow's many kinds
        return None
    return Value("string") if inferred == Value("null") else inferred


def _check_views(positions: Any, images: list[Any]) -> None:
    given = len(positions) if isinstance(positions, list) else 1
    if positions and given != len(images):
        raise ValueError(f"{given} view positions for {len(images)} images: give one for each, or null.")


def _as_list(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else [cell]


def _fetch(path: str) -> bytes:
    # A stream names images inside of archives or on the Hub, which only datasets can open.
    try:
        with xopen(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
