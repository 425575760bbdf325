"""The user's own questions: a table of images, questions and answers on disk or on the Hub."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, cast

import datasets
from datasets import Dataset, DatasetDict, Image, List, Value
from transformers.utils import logging

from ..images import ImageCell, image_id_of, path_cell
from ..schema import (
    INPUT_COLUMNS,
    KIND_COLUMNS,
    VqaRow,
    as_answer,
    as_answer_type,
    as_cell,
    as_image_id,
    as_image_names,
    as_question,
    build_vqa_dataset,
    with_alike_answers,
)
from ..shown_values import shown
from ..views import IMAGES, MAX_VIEWS, VIEW_SEPARATOR, alike, undecoded
from .bad_rows import BadRows, RowSource, TakenIds, drained
from .choices import ChoiceReader, choice_columns
from .image_places import image_finder, image_in_base64
from .row_forms import with_questions, with_shared_images
from .table_files import (
    SPLIT_NAMES,
    FileTable,
    by_split,
    check_columns,
    check_named_cells,
    column_names,
    load_from_hub,
    read_table,
    split_files,
    split_of,
    with_class_names,
    without_columns,
)

logger = logging.get_logger(__name__)

_EXTRA = (*KIND_COLUMNS, "split", INPUT_COLUMNS)

# Columns that are used where present; answers of questions that are only asked are left out on purpose.
_KNOWN = ("answer", "answer_type", "question_type", "image_id", "question_id", *KIND_COLUMNS, "split")


def load_own_data(
    name_or_path: str | os.PathLike[str],
    image_column: str = "image",
    question_column: str = "question",
    answer_column: str = "answer",
    image_dir: str | os.PathLike[str] | None = None,
    on_bad_row: str = "error",
    answer_type_column: str | None = None,
    question_type_column: str | None = None,
    ignore_columns: Sequence[str] = (),
) -> DatasetDict:
    """Read a CSV, TSV, JSON, JSON Lines or Parquet file, a folder of them, or a data set of the Hub, into the schema.

    A folder (or its `data/`) holds files named train*, validation* (or val*, dev*) and test*; a single file is of
    the split that its name begins with, as `test_b.csv`, else "train". The image column holds images embedded by
    datasets, or paths: relative to `image_dir`, a folder or a zip, where it is given; otherwise relative to the
    file, and those not there are looked up in the `images.zip` beside it. A question about several images has a
    list of them, or their paths with `|` between. Columns named `answer_type`,
    `question_type`, `modality`, `organ`, `image_id` and `question_id` are used where present; otherwise the image id is
    the path in its plain form (`a.png` for `./a.png`), or a hash of the embedded image, and the question id is
    `<image id>|<question>`. A column `choices` or `options`, of lists or of dictionaries by letters, or a column each
    (`choice_columns`), are a question's own candidates, of which its answer, or the letter that stands for it, must be
    one. A column `split` says of which split
    each row of a single file is; where the file's name says it too, they must agree. Other columns are named in a
    warning.

    LLaVA's conversations, VLMEvalKit's tables (`row_forms`) and images in base64 are taken too. `answer_type_column`
    and `question_type_column` name columns that are called otherwise; `ignore_columns` are read as if they were not
    there.

    Every different image is decoded once here, so that a damaged one does not stop a training that runs already.

    Raises:
        FileNotFoundError: If nothing that can be read is there, or an image is missing.
        ValueError: If a column that was asked for does not exist, a file is damaged or has no rows, or a row is bad
            and `on_bad_row` is "error".
    """
    named = {"answer_type": answer_type_column, "question_type": question_type_column}
    columns = {"image": image_column, "question": question_column, "answer": answer_column} | {
        name: column for name, column in named.items() if column is not None
    }
    bad_rows = BadRows(on_bad_row)
    splits = DatasetDict()
    for split, tables in _find_splits(name_or_path, ignore_columns).items():
        parted = split is None and "split" in column_names(tables[0][1])
        rows = _SplitReader(columns, image_dir, bad_rows, split).read(tables)
        parts = _by_column(rows) if parted else {split or "train": rows}
        splits.update({name: part.remove_columns(["split", INPUT_COLUMNS]) for name, part in parts.items()})
    bad_rows.report()
    return DatasetDict(zip(splits, with_alike_answers(alike(list(splits.values()))), strict=True))


def _by_column(rows: Dataset) -> dict[str, Dataset]:
    """The rows of each split that the column `split` names, in the package's order of splits."""
    names = rows["split"][:]
    return {
        split: rows.select([row for row, name in enumerate(names) if name == split])
        for split in dict.fromkeys(SPLIT_NAMES.values())
        if split in names
    }


class QuestionOptions(TypedDict, total=False):
    """What `load_questions` is told beside the file."""

    image_column: str
    question_column: str
    image_dir: str | os.PathLike[str] | None
    on_bad_row: str
    ignore_columns: Sequence[str]


def load_questions(
    name_or_path: str | os.PathLike[str],
    image_column: str = "image",
    question_column: str = "question",
    image_dir: str | os.PathLike[str] | None = None,
    on_bad_row: str = "error",
    ignore_columns: Sequence[str] = (),
) -> Dataset:
    """Rows to be answered, in the order of the file or files; whatever answers they have are left out.

    What else a row holds, such as a patient's number, is kept as JSON in the column `input_columns`.

    Takes and raises what `load_own_data` does.
    """
    columns = {"image": image_column, "question": question_column}
    bad_rows = BadRows(on_bad_row)
    tables = [table for tables in _find_splits(name_or_path, ignore_columns).values() for table in tables]
    questions = _SplitReader(columns, image_dir, bad_rows, None).read(tables)
    bad_rows.report()
    return questions.remove_columns("split")


def _find_splits(
    name_or_path: str | os.PathLike[str], ignored: Sequence[str]
) -> dict[str | None, list[tuple[Path | str, FileTable]]]:
    """By split, the tables of a file, folder or Hub id without `ignored` columns, each with its name for messages.

    None is the split of a file whose name says none, and of a Hub set that has "train" alone.
    """
    if Path(name_or_path).exists():
        path = Path(name_or_path)
        alone = path.is_file() and split_of(path) is None
        files: Mapping[str | None, list[Path]] = {None: [path]} if alone else {**split_files(path)}
        return {
            split: [(path, without_columns(path, read_table(path), ignored)) for path in paths]
            for split, paths in files.items()
        }
    name = str(name_or_path)
    # Where no split is named and nothing is streamed, it is of this type.
    hub = cast(DatasetDict, load_from_hub(name))
    only_train = list(hub) == ["train"]
    return {
        None if only_train else split: [(name, without_columns(name, table, ignored))]
        for split, table in by_split(name, hub).items()
    }


@dataclass
class _SplitReader:
    """Reads the tables of one split; it knows its bad rows, and which ids are taken.

    Args:
        columns: What the file calls `image`, `question` and `answer`, and where it was said `answer_type` and
            `question_type`; without `answer` no answers are read.
        image_dir: Folder or zip of images named by paths; None for the folder of each file.
        bad_rows: What happens to bad rows.
        split: The split that the tables are of by their name; None where they have no such name.
    """

    columns: Mapping[str, str]
    image_dir: str | os.PathLike[str] | None
    bad_rows: BadRows
    split: str | None
    question_ids: TakenIds = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    choices: ChoiceReader = field(default_factory=lambda: ChoiceReader(()))
    further: list[str] = field(default_factory=list)

    def read(self, tables: Iterable[tuple[Path | str, FileTable]]) -> Dataset:
        """The rows of all tables, each given with its name for messages; those that are lists are empty afterwards."""
        tables = list(tables)
        parts = [self._read_table(name, table) for name, table in tables]
        if not any(map(len, parts)):
            names, skipped = ", ".join(str(name) for name, _ in tables), len(self.bad_rows.skipped)
            raise ValueError(f"{names}: no row is left to use. {skipped} were skipped as bad.")
        return datasets.concatenate_datasets(with_alike_answers(alike(parts)))

    def _read_table(self, name: Path | str, table: FileTable) -> Dataset:
        if not isinstance(table, Dataset):
            table = with_shared_images(with_questions(name, table, self.columns), self.columns["image"])
        present = column_names(table)
        if [column for column in self.columns.values() if column not in present] == ["answer"]:
            logger.warning(f"{name} has no column 'answer': its answers are unknown. Columns: {present}.")
        else:
            options = ", ".join(f"{column}_column" for column in self.columns)
            check_columns(present, self.columns.values(), name, options)
        known = {*self.columns.values(), *(column for column in _KNOWN if column not in self.columns)}
        try:
            self.choices = ChoiceReader(choice_columns(present, known))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if "answer" in self.columns:
            unused = [repr(column) for column in present if column not in {*known, *self.choices.columns}]
            if unused:
                logger.warning(f"{name}: columns that are not used: {', '.join(unused)[:500]}.")
        else:
            # What predictions.csv has of itself; answers are left out on purpose.
            written = {*self.columns.values(), "answer", "image_id", "question_id"}
            self.further = [column for column in present if column not in written]
        rows = self._read_images(name, table)
        self.choices.report(name)
        return rows

    def _read_images(self, name: Path | str, table: FileTable) -> Dataset:
        source = RowSource(name, self.bad_rows)
        if not isinstance(table, Dataset):
            return self._read_paths(source, table)
        table = with_class_names(table)
        feature = table.features[self.columns["image"]]
        one = feature.feature if isinstance(feature, List) else feature
        if isinstance(one, Value):
            return self._read_paths(source, table)
        if isinstance(one, Image) or (isinstance(one, dict) and one.keys() == {"bytes", "path"}):
            return self._read_embedded(source, table)
        raise ValueError(f"{name}: the column {self.columns['image']!r} holds {feature}, neither paths nor images.")

    def _read_paths(self, source: RowSource, table: FileTable) -> Dataset:
        # Where many rows show one image, they share its path.
        find_image = cache(image_finder(Path(source.name).parent, self.image_dir))
        cells: dict[str, ImageCell] = {}

        def to_schema(row: Mapping[str, Any]) -> VqaRow:
            found = [find(name) for name in as_image_names(row.get(self.columns["image"]))]
            return self._to_schema(row, [path for path, _ in found], [name for _, name in found])

        def find(name: str) -> tuple[str, str]:
            if (cell := image_in_base64(name)) is None:
                return find_image(name)
            own = str(image_id_of(cell))
            cells[own] = cell
            return own, own

        def filled(image: str | list[str]) -> Any:
            return [filled(one) for one in image] if isinstance(image, list) else cells.get(image, image)

        given = drained(table) if isinstance(table, list) else table
        rows = source.with_present_images(source.convert(given, to_schema), cells)
        rows = source.with_one_image_an_id(rows, self.images)
        rows = source.with_readable_images(rows, lambda image: cells.get(image) or path_cell(image))
        usable = list(source.with_question_ids(rows, self.question_ids).values())
        for row in usable if cells else ():
            row["image"] = filled(row["image"])
        return build_vqa_dataset(usable, _EXTRA)

    def _read_embedded(self, source: RowSource, table: Dataset) -> Dataset:
        column = self.columns["image"]
        images = table.select_columns(column)
        if column != "image":
            images = images.rename_column(column, "image")
        several, unread = isinstance(images.features["image"], List), undecoded(images)
        cells = (row if several else [row] for row in unread["image"])
        hashes = [[None if cell is None else image_id_of(cell) for cell in of_row or []] for of_row in cells]
        first: dict[str | None, tuple[int, int]] = {}
        for number, of_row in enumerate(hashes):
            for place, own in enumerate(of_row):
                first.setdefault(own, (number, place))

        def to_schema(row: Mapping[str, Any]) -> VqaRow:
            own = row[column]
            if not own or None in own:
                raise ValueError("the image is empty: every row needs one.")
            if len(own) > MAX_VIEWS:
                raise ValueError(f"there are {len(own)} images: every row needs 1 to {MAX_VIEWS}.")
            return self._to_schema(row, own, own)

        def cell_of(own: str) -> ImageCell:
            number, place = first[own]
            return unread[number]["image"][place] if several else unread[number]["image"]

        texts = table.remove_columns(column).to_list()
        given = (row | {column: own} for row, own in zip(drained(texts), hashes, strict=True)) if texts else []
        rows = source.with_one_image_an_id(source.convert(given, to_schema), self.images)
        rows = source.with_question_ids(source.with_readable_images(rows, cell_of), self.question_ids)
        chosen = images.cast_column("image", IMAGES if several else Image()).select(list(rows))
        others = build_vqa_dataset(list(rows.values()), _EXTRA).remove_columns("image")
        return datasets.concatenate_datasets([chosen, others], axis=1)

    def _to_schema(self, row: Mapping[str, Any], images: list[str], ids: list[str]) -> VqaRow:
        check_named_cells(row)
        answer = as_answer(row.get(self.columns["answer"])) if "answer" in self.columns else None
        choices, answer = self.choices.read(row, answer)
        return {
            "image": images[0] if len(images) == 1 else images,
            "question": as_question(row.get(self.columns["question"])),
            "answer": answer,
            "answer_type": as_answer_type(row.get(self.columns.get("answer_type", "answer_type"))),
            "question_type": as_cell(row.get(self.columns.get("question_type", "question_type"))),
            "image_id": as_image_id(row.get("image_id"), len(images)) or VIEW_SEPARATOR.join(ids),
            "question_id": as_cell(row.get("question_id")),
            "choices": choices,
            "modality": as_cell(row.get("modality")),
            "organ": as_cell(row.get("organ")),
            "split": self._split_of(row) if "answer" in self.columns else None,
            # Times and the like are of no kind that JSON has.
            "input_columns": None
            if "answer" in self.columns
            else json.dumps({name: row.get(name) for name in self.further}, ensure_ascii=False, default=str),
        }

    def _split_of(self, row: Mapping[str, Any]) -> str | None:
        if "split" not in row:
            return self.split
        written = as_cell(row["split"])
        split = None if written is None else SPLIT_NAMES.get(written.strip().lower())
        if split is None:
            raise ValueError(
                f"the split is {shown(row['split'])}, none of {', '.join(SPLIT_NAMES)}: correct it, or rename the "
                "column if it means something else."
            )
        if self.split not in (None, split):
            raise ValueError(
                f"the column split says {shown(written)}, and the file's name {self.split}: rename the file, or the "
                "column if it means something else."
            )
        return split
