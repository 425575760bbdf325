"""The user's own questions from shards or from the Hub, of which the training rows are never kept on disk."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, List, Value
from transformers.utils import logging

from ..images import ImageCell, image_id_of
from ..schema import KIND_COLUMNS, TEXTS, VQA_FEATURES, as_answer, as_answer_type, as_cell, as_list, as_question
from ..shown_values import shown
from ..streams import with_read_evaluation
from ..views import VIEW_SEPARATOR
from .choices import ChoiceReader, choice_columns
from .image_places import image_in_base64
from .shards import find_shards, stream_shards
from .table_files import by_split, check_columns, load_from_hub

logger = logging.get_logger(__name__)

_FEATURES = Features({**VQA_FEATURES, **{name: Value("string") for name in KIND_COLUMNS}})

# What vocabulary, candidates and knowledge are made of, and a tokenizer.
_TEXTS = ("question", "answer", "answer_type", "question_type")


def load_streamed_questions(
    name_or_path: str | os.PathLike[str],
    image_column: str = "image",
    question_column: str = "question",
    answer_column: str = "answer",
    on_bad_row: str = "error",
    max_eval_samples: int | None = None,
    answer_type_column: str | None = None,
    question_type_column: str | None = None,
    ignore_columns: Sequence[str] = (),
) -> tuple[IterableDataset, DatasetDict]:
    """Read a folder of Parquet or WebDataset shards (`find_shards`), or a data set of the Hub, as a stream.

    Columns beside the named ones are those of `load_own_data`. Without `image_id`, an image is known by a hash of its
    content, or by its path, which begins at the folder of the shards.

    Args:
        name_or_path: The folder, file or Hub id.
        image_column: The column of images.
        question_column: The column of questions.
        answer_column: The column of answers.
        on_bad_row: "error" stops at an unusable row, "skip" leaves it out.
        max_eval_samples: Read only so many rows of each split but training.
        answer_type_column: The column of answer types, where it is called otherwise.
        question_type_column: The same of question types.
        ignore_columns: Columns that are read as if they were not there.

    Returns:
        The training rows in the schema, and the splits: validation and test in memory, as far as there are such, and as
        "train" the texts of the training rows alone, which are read in a first pass.

    Raises:
        ValueError: If a column does not exist, or a row is bad and not skipped.
        FileNotFoundError: If there are no shards.
    """
    path = Path(name_or_path)
    shards = find_shards(path) if path.exists() else {}
    if path.exists() and not shards:
        raise FileNotFoundError(f"{path} holds no shards that can be streamed: give Parquet or tar files.")
    raw: Any = stream_shards(shards, image_column) if shards else load_from_hub(str(name_or_path), streaming=True)
    raw = by_split(str(name_or_path), raw)
    named = {answer_type_column: "answer_type", question_type_column: "question_type"}
    raw = {split: _with_plain_names(str(name_or_path), rows, named, ignore_columns) for split, rows in raw.items()}
    columns = {"image": image_column, "question": question_column, "answer": answer_column}
    reader = _StreamReader(str(name_or_path), columns, None, on_bad_row)
    streams: dict[Any, Any] = {}
    for split, rows in raw.items():
        folder = shards[split][0].parent if shards else None
        streams[split] = replace(reader, folder=folder).read(rows)
    splits = with_read_evaluation(IterableDatasetDict(streams), max_eval_samples)
    for split, rows in splits.items():
        if split != "train" and (repeated := [own for own, n in Counter(rows["question_id"]).items() if n > 1]):
            raise ValueError(
                f"{name_or_path}: two {split} questions have the id {shown(repeated[0])}: give each its own."
            )
    training = cast(IterableDataset, splits["train"])
    logger.warning("A first pass reads the texts of the training questions, for candidates and knowledge.")
    texts = reader.texts(raw["train"])
    return training, DatasetDict({**splits, "train": texts})


def _with_plain_names(
    source: str, rows: IterableDataset, named: Mapping[str | None, str], ignored: Sequence[str]
) -> IterableDataset:
    """A stream without `ignored` columns, and with others under the names that `named` gives them."""
    names = {column: name for column, name in named.items() if column not in (None, name)}
    if not names and not ignored:
        return rows
    rows = rows if rows.features is not None else rows._resolve_features()
    features = cast(Features, rows.features)
    check_columns(features, [*names, *ignored], source, "answer_type_column, question_type_column, ignore_columns")
    hidden = [name for name in names.values() if name in features and name not in ignored]
    return rows.remove_columns([*ignored, *hidden]).rename_columns(cast(dict[str, str], names))


@dataclass(frozen=True)
class _StreamReader:
    """Turns rows of a stream into the schema."""

    name: str
    columns: Mapping[str, str]
    folder: Path | None
    on_bad_row: str

    def read(self, rows: IterableDataset) -> IterableDataset:
        """The rows in the schema, converted as they come."""
        rows = rows if rows.features is not None else rows._resolve_features()
        features = cast(Features, rows.features)
        check_columns(features, self.columns.values(), self.name, "image_column, question_column and answer_column")
        if "split" in features:
            raise ValueError(
                f"{self.name}: a stream is not parted by its column 'split', and test rows would be trained on: keep "
                "each split in files of its name and give ignore_columns split, or leave out --streaming."
            )
        choices = self._choices(features)
        several = {"answer": TEXTS} if isinstance(features[self.columns["answer"]], List) else {}
        schema = Features(_FEATURES | several | ({"choices": TEXTS} if choices.columns else {}))
        left_out = [name for name in features if name not in schema]
        used = {*self.columns.values(), *choices.columns}
        if unused := [repr(name) for name in left_out if name not in used]:
            logger.warning_once(f"{self.name}: columns that are not used: {', '.join(unused)[:500]}.")

        def convert(table: pa.Table) -> pa.Table:
            made = [self._row(_with_class_names(row, features), choices) for row in table.to_pylist()]
            kept = [{**row, "answer": as_list(row["answer"])} if several else row for row in made if row is not None]
            return pa.Table.from_pylist(kept, schema=schema.arrow_schema)

        return (
            rows.with_format("arrow")
            .map(convert, batched=True, batch_size=100, features=schema, remove_columns=left_out)
            .with_format(None)
        )

    def _choices(self, features: Features) -> ChoiceReader:
        try:
            return ChoiceReader(choice_columns(features, {*self.columns.values(), *_FEATURES}))
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def texts(self, rows: IterableDataset) -> Dataset:
        """Questions and answers of all rows; their images are not decoded."""
        rows = rows if rows.features is not None else rows._resolve_features()
        names = [*(self.columns[name] for name in ("question", "answer")), "answer_type", "question_type"]
        features = cast(Features, rows.features)
        choices = self._choices(features)
        kept = rows.select_columns([name for name in (*names, *choices.columns) if name in features])
        made: dict[str, list[Any]] = {name: [] for name in _TEXTS}
        for table in kept.with_format("arrow").iter(1_000):
            for row in cast(pa.Table, table).to_pylist():
                if (converted := self._row(_with_class_names(row, features), choices, with_image=False)) is not None:
                    for name in _TEXTS:
                        made[name].append(converted[name])
        choices.report(self.name)
        several = isinstance(features[self.columns["answer"]], List)
        if several:
            made["answer"] = list(map(as_list, made["answer"]))
        kinds = {name: TEXTS if several and name == "answer" else Value("string") for name in _TEXTS}
        return Dataset.from_dict(made, features=Features(kinds))

    def _row(self, row: Mapping[str, Any], choices: ChoiceReader, with_image: bool = True) -> Mapping[str, Any] | None:
        try:
            given = row.get(self.columns["answer"])
            own, answer = choices.read(row, as_answer(given))
            if isinstance(answer, list) and not isinstance(given, list):
                raise ValueError(f"the answers {shown(given)} are a text: write a column of lists, to be streamed.")
            made = {
                "question": as_question(row.get(self.columns["question"])),
                "answer": answer,
                "answer_type": as_answer_type(row.get("answer_type")),
                "question_type": as_cell(row.get("question_type")),
            }
            if not with_image:
                return made
            image = self._image(row[self.columns["image"]])
            image_id = as_cell(row.get("image_id")) or (image_id_of(image) if image["bytes"] else str(image["path"]))
            ids = {"image_id": image_id, "question_id": as_cell(row.get("question_id"))}
            ids["question_id"] = ids["question_id"] or f"{image_id}|{made['question']}"
            kinds = {name: as_cell(row.get(name)) for name in KIND_COLUMNS}
            return {"image": image, **made, **ids, **kinds, **({"choices": own} if choices.columns else {})}
        except ValueError as error:
            if self.on_bad_row == "skip":
                return None
            question = shown(row.get(self.columns["question"]))
            raise ValueError(
                f"{self.name}: the row of the question {question}: {error} Or leave bad rows out with on_bad_row skip."
            ) from None

    def _image(self, cell: Any) -> ImageCell:
        if isinstance(cell, list) and len(cell) == 1:
            (cell,) = cell
        if isinstance(cell, str) and VIEW_SEPARATOR in cell:
            cell = cell.split(VIEW_SEPARATOR)
        if isinstance(cell, list) and len(cell) > 1:
            raise ValueError(f"it has {len(cell)} images: of several, rows are not streamed; leave out --streaming.")
        if isinstance(cell, str):
            cell = image_in_base64(cell) or {"bytes": None, "path": cell}
        if not isinstance(cell, dict) or not (cell.get("bytes") or cell.get("path")):
            raise ValueError(f"the image is {shown(cell)}: every row needs one; name its column with image_column.")
        if not cell.get("bytes") and self.folder is not None:
            return {"bytes": None, "path": str(self.folder / cell["path"])}
        return cast(ImageCell, cell)


def _with_class_names(row: Mapping[str, Any], features: Features) -> Mapping[str, Any]:
    """The row with the names of classes for their numbers; datasets has -1 for none."""
    classes = {name: kind for name, kind in features.items() if isinstance(kind, ClassLabel) and name in row}
    return dict(row) | {
        name: None if row[name] in (None, -1) else kind.int2str(row[name]) for name, kind in classes.items()
    }
