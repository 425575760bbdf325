"""The one form that every visual question answering reader gives, and the checks that readers share."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, Value

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


def as_text(value: Any) -> str | None:
    """`value` as a string; None for None and for blank text. Numbers, which some files use as answers, are spelled."""
    text = None if value is None else str(value)
    return text if text and text.strip() else None


def as_answer_type(value: Any) -> str | None:
    """ "open", "closed" or None, whatever the file's capitals and blanks.

    Raises:
        ValueError: for any other word, so that a wrong column does not pass for an answer type.
    """
    text = as_text(value)
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
    """The list of rows in a JSON file, read as UTF-8 whatever the machine's locale."""
    return json.loads(path.read_text(encoding="utf-8"))


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


def check_images(paths: Sequence[Path], source: Path) -> None:
    """Make sure that every image exists, before anything is trained on; row `i` of `source` names `paths[i]`.

    Each folder is listed once: a look-up per question is slow on network file systems.

    Raises:
        FileNotFoundError: naming the file, the first such row, its image and the cure.
    """
    present = {parent: _list_folder(parent) for parent in {path.parent for path in paths}}
    missing = [row for row, path in enumerate(paths) if path.name not in present[path.parent]]
    if missing:
        raise FileNotFoundError(
            f"{source}: row {missing[0]} (counted from 0) names the image {paths[missing[0]]}, which does not exist "
            f"({len(missing)} of {len(paths)} rows have none). Put the images there, or remove these rows."
        )


def _list_folder(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()
