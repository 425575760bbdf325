"""Files of rows: CSV, TSV, JSON, JSON Lines and Parquet, their splits, and where a release keeps its files."""

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import datasets
from datasets import ClassLabel, Dataset, Value
from transformers.utils import logging

from ..shown_values import shown
from .csv_files import read_csv, read_text

logger = logging.get_logger(__name__)


# What files and Hub sets call their splits.
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}

# "test_b.csv" and "testset.csv" are of a split, "testicles.csv" and "valve.csv" are of none.
_SPLIT_AHEAD = re.compile(rf"({'|'.join(SPLIT_NAMES)})(?:ing|set|s)?(?![a-z])")

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")

# Of a file that anyone may have written: nothing is known of its cells, or even that each row has columns.
TableRow = dict[str, Any]

FileTable = Dataset | list[TableRow]

T = TypeVar("T")


def read_json(path: Path) -> list[TableRow]:
    """The list of rows in a JSON file, read as UTF-8 whatever the machine's locale.

    Raises:
        ValueError: If the file is no JSON in UTF-8, holds something else than a list, or an object repeats a name.
    """
    rows = read_json_content(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path} holds a {type(rows).__name__}, not a list of rows: write [{{...}}, {{...}}].")
    return rows


def read_json_content(path: Path) -> Any:
    """What a JSON file holds, of whatever kind.

    Raises:
        ValueError: If the file is no JSON in UTF-8, or an object repeats a name.
    """
    return _parsed(read_text(path), str(path), "give a complete file, in UTF-8")


def read_json_lines(file: Path) -> list[TableRow]:
    """The rows of a JSON Lines file, one a line; empty lines are passed over.

    Raises:
        ValueError: If a line is no JSON in UTF-8, or an object repeats a name.
    """
    return [row for _, row in numbered_json_lines(file)]


def numbered_json_lines(file: Path) -> Iterator[tuple[int, TableRow]]:
    """As `read_json_lines`, one row after another, each with the number of its line, counted from 1."""
    # Not splitlines(), which also cuts at signs that may stand inside of a text.
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if line.strip():
            yield number, _parsed(line, f"{file}: line {number}", "write one whole row a line")


def read_published_csv(file: Path, columns: Collection[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, gzipped or not, in which each must have the columns of a published release.

    Raises:
        ValueError: As `read_csv`; or if a column is missing, or a row has other cells than the header.
    """
    rows = read_csv(file)
    for row in rows:
        try:
            check_named_cells(row)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    check_columns(column_names(rows), columns, file, "the release's names")
    return rows


def _parsed(text: str, source: str, cure: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        reason, cure = "lists within lists, too deep", "write rows of texts and numbers"
    except json.JSONDecodeError as error:
        reason = str(error)
    except ValueError as error:
        reason, cure = str(error), "keep one of each name"
        if reason.startswith("Exceeds the limit"):
            reason, cure = "a number of thousands of digits", "write it as text"
    raise ValueError(f"{source} cannot be read as JSON ({reason}): {cure}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, of which json would keep the last of two values of one name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object repeats {shown(next(name for name in names if names.count(name) > 1))}")
    return found


def _read_parquet(file: Path) -> Dataset:
    try:
        return Dataset.from_parquet(str(file))
    except Exception as error:  # datasets and pyarrow have errors of many kinds for a damaged file
        raise ValueError(f"{file} cannot be read as Parquet ({shown(str(error))}): give a complete file.") from None


_READERS: dict[str, Callable[[Path], FileTable]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".parquet": _read_parquet,
}


def split_files(path: Path) -> dict[str, list[Path]]:
    """The table files of each split: a file itself, or those of a folder; others there are named in a warning.

    Where no name begins with a split's, and the files are one or the numbered parts of one, they are "train", which is
    said too.

    Raises:
        FileNotFoundError: If a folder has no table.
        ValueError: If several files are of one split, or of none, and are no numbered parts of it.
    """
    if path.is_file():
        return {split_of(path) or "train": [path]}
    found = sorted(file for folder in (path, path / "data") for file in folder.glob("*") if is_table(file))
    files: dict[str, list[Path]] = {}
    for file in found:
        if split := split_of(file):
            files.setdefault(split, []).append(file)
    if not found:
        raise FileNotFoundError(f"{path} holds no train*, validation* or test* file of {', '.join(SUFFIXES)}.")
    if not files:
        check_parts("of no split", found)
        logger.warning(f"{path}: no name says a split, so that all are training: {', '.join(_shortened(found))}.")
        return {"train": found}
    for split, several in files.items():
        check_parts(split, several)
    if ignored := [file.name for file in found if split_of(file) is None]:
        logger.warning(f"{path}: not read, since their names begin with no split: {', '.join(ignored)}.")
    return files


def check_parts(split: str, files: list[Path]) -> None:
    """Check that files of one split are its numbered parts: test and test_clean are two sets, and no one is meant.

    Raises:
        ValueError: If they are not, or two have one name.
    """
    by_name: dict[str, Path] = {}
    for file in files:
        if (other := by_name.setdefault(file.name.lower(), file)) != file:
            raise ValueError(
                f"{other} and {file} have one name, and the rows of a copy would count twice: move one of them away, "
                "or give it another number."
            )
    patterns = {re.sub(r"\d+", "0", file.name.lower()) for file in files}
    if len(files) > 1 and (len(patterns) > 1 or "0" not in patterns.pop()):
        raise ValueError(
            f"{files[0].parent}: {', '.join(_shortened(files))} are all {split} by their names. Parts of one split "
            "differ in their numbers alone, as train_1.csv and train_2.csv: rename them, or move away all but one."
        )


def _shortened(files: list[Path]) -> list[str]:
    names = [file.name for file in files]
    return names if len(names) < 6 else [*names[:2], f"{len(names) - 3} more", names[-1]]


def is_table(file: Path | str) -> bool:
    """Whether a file's name ends in one of `SUFFIXES`, in letters of any case."""
    return Path(file).suffix.lower() in SUFFIXES


def split_of(file: Path) -> str | None:
    """The split that a file's name begins with; None where it begins with none."""
    found = _SPLIT_AHEAD.match(file.name.lower())
    return SPLIT_NAMES[found[1]] if found else None


def read_table(file: Path) -> FileTable:
    """The rows of a file of any of `SUFFIXES`.

    Raises:
        ValueError: If the file has another suffix, or is damaged.
    """
    if not is_table(file):
        raise ValueError(f"{file} is none of {', '.join(SUFFIXES)}.")
    return _READERS[file.suffix.lower()](file)


def column_names(table: FileTable) -> list[str]:
    """The columns of a table, in the order first seen."""
    if isinstance(table, Dataset):
        return table.column_names
    return list(dict.fromkeys(name for row in table if isinstance(row, dict) for name in row if name is not None))


def without_columns(name: Path | str, table: FileTable, ignored: Sequence[str]) -> FileTable:
    """A table without `ignored` columns; those that it does not have are named in a warning."""
    present = column_names(table) if ignored else []
    if missing := [column for column in ignored if column not in present]:
        logger.warning(
            f"{name} has no column {', '.join(map(repr, missing))} to leave out; it has {', '.join(present)}."
        )
    if isinstance(table, Dataset):
        return table.remove_columns([column for column in ignored if column in present])
    if not ignored:
        return table
    return [{k: v for k, v in row.items() if k not in ignored} if isinstance(row, Mapping) else row for row in table]


def check_columns(present: Collection[str], wanted: Iterable[str], source: Path | str, options: str) -> None:
    """Check that a table has the columns that were asked for.

    Args:
        present: The table's columns.
        wanted: The columns asked for.
        source: The table's name, for the message.
        options: How a user names columns, for the message.

    Raises:
        ValueError: If one is missing.
    """
    if missing := [column for column in wanted if column not in present]:
        raise ValueError(
            f"{source} has no column {', '.join(map(repr, missing))}; it has {', '.join(present) or 'none'}. "
            f"Name yours with {options}."
        )


def check_named_cells(row: Mapping[Any, Any]) -> None:
    """Check that a row of a CSV file has the header's cells; what is wrong with it stands under None.

    Raises:
        ValueError: If it has other ones.
    """
    if None in row:
        raise ValueError(row[None])


def with_class_names(table: Dataset) -> Dataset:
    """`table` with the names of its `ClassLabel` columns in place of their numbers; -1 stands for no name."""
    for column, feature in table.features.items():
        if isinstance(feature, ClassLabel):
            names = [None if number in (None, -1) else feature.int2str(number) for number in table[column]]
            table = table.remove_columns(column).add_column(column, names, feature=Value("string"))
    return table


def require_folder(data_dir: str | os.PathLike[str] | None, reader: str, contents: str) -> Path:
    """`data_dir` as a path.

    Raises:
        ValueError: If it is None.
        FileNotFoundError: If it is no folder.
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
        FileNotFoundError: If none is there; the message names every place looked at.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{reader}: looked in {folder} for {' or '.join(names)} and found none.")


def load_from_hub(name: str, **options: Any) -> Any:
    """A data set of the Hub as the datasets library loads it, with its options.

    Raises:
        FileNotFoundError: If the name is of none, or it can neither be had from the Hub nor is kept here.
    """
    try:
        if may_be_hub_id(name):
            return datasets.load_dataset(name, **options)
    except OSError as error:
        raise FileNotFoundError(
            f"The data set {name} cannot be had from the Hub, and is not kept here: {error}"
        ) from error
    raise FileNotFoundError(f"There is no file or folder {name}, and a data set of the Hub is called owner/name.")


def by_split(name: str, splits: Mapping[Any, T]) -> dict[str, T]:
    """What a Hub set or a library has by its own names of splits, by the package's; other names stay as they are.

    Raises:
        ValueError: If two of its names mean one split, of which one would be lost.
    """
    found: dict[str, T] = {}
    for split, rows in splits.items():
        ours = SPLIT_NAMES.get(str(split), str(split))
        if ours in found:
            raise ValueError(
                f"{name} has splits {', '.join(map(str, splits))}, of which two are {ours}: save the one that is meant "
                "to files of your own, and give their folder."
            )
        found[ours] = rows
    return found


def may_be_hub_id(name: str) -> bool:
    """Whether a name has the form owner/name, and is no file's."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) is not None and not is_table(name)
