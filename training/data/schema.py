"""The one form that every visual question answering reader gives, and the checks that readers share."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, Image, Value

from .plain_answer import plain_answer

ANSWER_TYPES = ("open", "closed")

VQA_FEATURES = Features(
    {
        "image": Image(),
        "question": Value("string"),
        "answer": Value("string"),
        "answer_type": Value("string"),
        "question_type": Value("string"),
        "image_id": Value("string"),
        "question_id": Value("string"),
    }
)


def with_class_names(table: Dataset) -> Dataset:
    """`table` with the names of its `ClassLabel` columns in place of their numbers; -1 stands for no name."""
    for column, feature in table.features.items():
        if isinstance(feature, ClassLabel):
            names = [None if number in (None, -1) else feature.int2str(number) for number in table[column]]
            table = table.remove_columns(column).add_column(column, names, feature=Value("string"))
    return table


def as_text(value: Any) -> str | None:
    """`value` as a string; None for None and for blank text. Numbers, which some files use as answers, are spelled."""
    text = None if value is None else str(value)
    return text if text and text.strip() else None


def as_cell(value: Any) -> str | None:
    """`as_text` of what one cell of a table may hold: text or a number; NaN is an empty cell.

    Raises:
        ValueError: for a list, a dictionary, true or false, an infinite number, or text that is no Unicode.
    """
    if value is None or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value in (math.inf, -math.inf):
        raise ValueError(f"{value!r} is neither text nor a number: write one text in this cell.")
    if any("\ud800" <= letter <= "\udfff" for letter in str(value)):
        raise ValueError(f"{value!r} holds half a letter, which no file can: write valid Unicode.")
    # A column of whole numbers with a gap holds floats.
    return as_text(int(value) if isinstance(value, float) and value.is_integer() else value)


def as_question(value: Any) -> str:
    """The text of a question.

    Raises:
        ValueError: when it is empty or no text.
    """
    text = as_cell(value)
    if text is None:
        raise ValueError(f"the question is empty ({value!r}): every row needs one.")
    return text


def as_answer(value: Any) -> str | None:
    """The text of an answer as the file writes it, None where it is unknown.

    Raises:
        ValueError: when it is a list, or holds no word or number, so that nothing could be learned or compared.
    """
    text = as_cell(value)
    if text is not None and not plain_answer(text):
        raise ValueError(f"the answer {text!r} holds no word or number: leave it empty if it is unknown.")
    return text


def as_image_name(value: Any) -> str:
    """The name of a picture's file.

    Raises:
        ValueError: when there is none.
    """
    text = as_cell(value)
    if text is None or "\0" in text:
        raise ValueError(f"the image is {value!r}: every row needs the path of one.")
    return text


def as_answer_type(value: Any) -> str | None:
    """ "open", "closed" or None, whatever the file's capitals and blanks.

    Raises:
        ValueError: for any other word, so that a wrong column does not pass for an answer type.
    """
    text = as_cell(value)
    if text is None:
        return None
    answer_type = text.strip().lower()
    if answer_type not in ANSWER_TYPES:
        raise ValueError(f"answer_type {text!r} is none of {', '.join(ANSWER_TYPES)}.")
    return answer_type


def build_vqa_dataset(rows: Sequence[Mapping[str, Any]], extra_columns: Iterable[str] = ()) -> Dataset:
    """A data set in the schema's features, with `extra_columns` (text) behind them.

    Images given as paths are stored as paths: nothing is opened here. A column that a row lacks is None.
    """
    features = Features({**VQA_FEATURES, **{name: Value("string") for name in extra_columns}})
    return Dataset.from_dict({name: [row.get(name) for row in rows] for name in features}, features=features)


def read_json(path: Path) -> list[dict[str, Any]]:
    """The list of rows in a JSON file, read as UTF-8 whatever the machine's locale.

    Raises:
        ValueError: when the file is no JSON, or holds something else than a list.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}): give a complete file, in UTF-8.") from None
    if not isinstance(rows, list):
        raise ValueError(f"{path} holds a {type(rows).__name__}, not a list of rows: write [{{...}}, {{...}}].")
    return rows


def require_folder(data_dir: str | os.PathLike[str] | None, reader: str, contents: str) -> Path:
    """`data_dir` as a path.

    Raises:
        ValueError: when it is None.
        FileNotFoundError: when it is no folder.
    """
    if data_dir is None:
        raise ValueError(f"{reader} is read from a local copy: give data_dir, a folder that holds {contents}.")
    folder = Path(data_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"data_dir {folder} is not a folder; {reader} expects one that holds {contents}.")
    return folder


def find_first(folder: Path, names: Sequence[str], reader: str) -> Path:
    """The first of `names` that exists in `folder`.

    Raises:
        FileNotFoundError: naming every place looked at.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{reader}: looked in {folder} for {' or '.join(names)} and found none.")
