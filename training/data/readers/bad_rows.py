"""Rows that cannot be used: stop at the first, or list them all and go on without."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..images import unreadable_images

logger = logging.get_logger(__name__)

CHOICES = ("error", "skip")

Rows = dict[int, dict[str, Any]]


class BadRows:
    """What happens to a bad row: an error that names file, row, value and cure, or a place on the list of skipped ones.

    Args:
        on_bad_row: "error" raises at the first; "skip" keeps it in `skipped` and goes on.

    Raises:
        ValueError: for another `on_bad_row`.
    """

    def __init__(self, on_bad_row: str = "error") -> None:
        if on_bad_row not in CHOICES:
            raise ValueError(f"on_bad_row must be one of {', '.join(CHOICES)}, got {on_bad_row!r}.")
        self.skip = on_bad_row == "skip"
        self.skipped: list[str] = []

    def add(self, source: Path | str, row: int, error: Exception) -> None:
        """Raise `error` with the names of file and row before it, or remember it.

        Raises:
            FileNotFoundError: where `error` is one; otherwise
            ValueError: unless rows are skipped.
        """
        message = f"{source}: row {row} (counted from 0): {error}"
        if not self.skip:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"{message} Correct the row, or leave such rows out with on_bad_row='skip'.") from None
        self.skipped.append(message)

    def report(self) -> None:
        """Log how many rows were skipped, and each of them with its reason."""
        if self.skipped:
            logger.warning("\n".join([f"{len(self.skipped)} bad rows are left out:", *self.skipped]))


def usable_rows(
    rows: Iterable[Any], convert: Callable[[Mapping[str, Any]], dict[str, Any]], source: Path | str, bad_rows: BadRows
) -> Rows:
    """`convert` of each row, by the row's number in `source`; without the bad ones, where they are skipped."""
    usable: Rows = {}
    for number, row in enumerate(rows):
        try:
            if not isinstance(row, Mapping):
                raise ValueError(f"{row!r} is no row of named columns.")
            usable[number] = convert(row)
        except KeyError as error:
            bad_rows.add(source, number, ValueError(f"no column {error}; it has {', '.join(map(str, row))}."))
        except (ValueError, FileNotFoundError) as error:
            bad_rows.add(source, number, error)
    return usable


def with_question_ids(rows: Rows, source: Path | str, bad_rows: BadRows, taken: dict[str, str]) -> Rows:
    """`rows`, each with a question id that no other has.

    The file's own ids must differ. A row without one gets `<image id>|<question>`, and where the same question is asked
    of the same image again, `|2`, `|3` behind it.

    Args:
        rows: converted rows; their question ids are filled in.
        source: the file, for messages.
        bad_rows: takes the rows whose own id is taken.
        taken: ids given so far in this split, with where; this function adds to it.
    """
    usable: Rows = {}
    for number, row in rows.items():
        own = row["question_id"]
        if own is not None and own in taken:
            bad_rows.add(source, number, ValueError(f"the question id {own!r} is also that of {taken[own]}."))
            continue
        row["question_id"] = own or _free_id(f"{row['image_id']}|{row['question']}", taken)
        taken[row["question_id"]] = f"row {number} of {source}"
        usable[number] = row
    return usable


def usable_files(
    rows: Iterable[Any], convert: Callable[[Mapping[str, Any]], dict[str, Any]], source: Path | str, bad_rows: BadRows
) -> list[dict[str, Any]]:
    """The usable rows of a published data set, whose `image` is a path; the step that its readers share.

    Where bad rows are skipped, every picture is decoded, for only so is it known which these are. Otherwise a picture
    is opened when it is first used: published copies are checked by their counts.
    """
    usable = with_present_images(usable_rows(rows, convert, source, bad_rows), source, bad_rows)
    if bad_rows.skip:
        pictures = {number: row["image"] for number, row in usable.items()}
        usable = with_readable_pictures(usable, source, bad_rows, pictures, path_cell)
    return list(with_question_ids(usable, source, bad_rows, {}).values())


def _free_id(wanted: str, taken: Mapping[str, str]) -> str:
    free, repetition = wanted, 1
    while free in taken:
        repetition += 1
        free = f"{wanted}|{repetition}"
    return free


def with_present_images(rows: Rows, source: Path | str, bad_rows: BadRows) -> Rows:
    """`rows` whose `image`, a path, exists. Each folder is listed once: look-ups are slow on network file systems."""
    missing = set(missing_images({number: Path(row["image"]) for number, row in rows.items()}))
    for number in sorted(missing):
        message = f"the image {rows[number]['image']} does not exist ({len(missing)} of {len(rows)} rows have none)."
        bad_rows.add(source, number, FileNotFoundError(message))
    return {number: row for number, row in rows.items() if number not in missing}


def missing_images(paths: Mapping[int, Path]) -> list[int]:
    """The keys of `paths` that are no entry of their folder."""
    present = {parent: _list_folder(parent) for parent in {path.parent for path in paths.values()}}
    return [key for key, path in paths.items() if path.name not in present[path.parent]]


def _list_folder(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def with_readable_pictures(
    rows: Rows,
    source: Path | str,
    bad_rows: BadRows,
    pictures: Mapping[int, str],
    cell_of: Callable[[str], Mapping[str, Any]],
) -> Rows:
    """`rows` whose picture can be decoded; each different picture is decoded once.

    Args:
        rows: converted rows.
        source: the file, for messages.
        bad_rows: takes the rows whose picture is damaged.
        pictures: for each row, what tells its picture from others.
        cell_of: the undecoded `image` cell of such a picture.
    """
    reasons = unreadable_images(list(dict.fromkeys(pictures[number] for number in rows)), cell_of)
    for number in rows:
        if pictures[number] in reasons:
            bad_rows.add(source, number, ValueError(reasons[pictures[number]]))
    return {number: row for number, row in rows.items() if pictures[number] not in reasons}


def path_cell(path: str) -> dict[str, Any]:
    """The undecoded `image` cell of a picture on disk."""
    return {"path": path, "bytes": None}
