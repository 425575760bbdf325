"""Rows that cannot be used: stop at the first, or list them all and go on without."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..images import ImageCell, path_cell, unreadable_images
from ..schema import VqaRow
from ..shown_values import shown

logger = logging.get_logger(__name__)

CHOICES = ("error", "skip")

# Converted rows by their number in the source, counted from 0.
Rows = dict[int, VqaRow]


class BadRows:
    """What happens to a bad row: an error that names file, row, value and cure, or a place on the list of skipped ones.

    Args:
        on_bad_row: "error" raises at the first; "skip" keeps it in `skipped` and goes on.

    Raises:
        ValueError: If `on_bad_row` is another.
    """

    def __init__(self, on_bad_row: str = "error") -> None:
        if on_bad_row not in CHOICES:
            raise ValueError(f"on_bad_row must be one of {', '.join(CHOICES)}, got {on_bad_row!r}.")
        self.skip = on_bad_row == "skip"
        self.skipped: list[str] = []

    def add(self, source: Path | str, row: int, error: Exception) -> None:
        """Raise `error` with the names of file and row before it, or remember it.

        Raises:
            FileNotFoundError: If `error` is one and rows are not skipped.
            ValueError: If `error` is another and rows are not skipped.
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


@dataclass(frozen=True)
class RowSource:
    """A file or a table of the Hub on its way into the schema. Each step takes rows and gives those that are usable.

    Args:
        name: The file's or table's name, for messages.
        bad_rows: What happens to its bad rows.
    """

    name: Path | str
    bad_rows: BadRows

    def convert(self, rows: Iterable[Any], to_schema: Callable[[Mapping[str, Any]], VqaRow]) -> Rows:
        """`to_schema` of each row, by the row's number."""
        usable: Rows = {}
        for number, row in enumerate(rows):
            try:
                if not isinstance(row, Mapping):
                    raise ValueError(f"{shown(row)} is no row of named columns.")
                usable[number] = to_schema(row)
            except KeyError as error:
                self._reject(number, ValueError(f"no column {error}; it has {', '.join(map(str, row))[:200]}."))
            except (ValueError, FileNotFoundError) as error:
                self._reject(number, error)
        return usable

    def convert_files(self, rows: Iterable[Any], to_schema: Callable[[Mapping[str, Any]], VqaRow]) -> list[VqaRow]:
        """All steps for a published data set, whose images are files.

        Where bad rows are skipped, every image is decoded, for only so is it known which these are. Otherwise an image
        is opened when it is first used: published copies are checked by their counts.
        """
        usable = self.with_present_images(self.convert(rows, to_schema))
        if self.bad_rows.skip:
            usable = self.with_readable_images(usable)
        return list(self.with_question_ids(usable, {}).values())

    def with_present_images(self, rows: Rows) -> Rows:
        """Rows whose image file exists. Each folder is listed once: look-ups are slow on network file systems."""
        missing = set(missing_images({number: Path(row["image"]) for number, row in rows.items()}))
        for number in sorted(missing):
            message = (
                f"the image {rows[number]['image']} does not exist ({len(missing)} of {len(rows)} rows have none)."
            )
            self._reject(number, FileNotFoundError(message))
        return {number: row for number, row in rows.items() if number not in missing}

    def with_readable_images(self, rows: Rows, cell_of: Callable[[str], ImageCell] = path_cell) -> Rows:
        """Rows whose image can be decoded; each different image is decoded once.

        Args:
            rows: Converted rows.
            cell_of: The undecoded cell of a row's `image`.
        """
        reasons = unreadable_images(list(dict.fromkeys(row["image"] for row in rows.values())), cell_of)
        for number, row in rows.items():
            if row["image"] in reasons:
                self._reject(number, ValueError(reasons[row["image"]]))
        return {number: row for number, row in rows.items() if row["image"] not in reasons}

    def with_one_image_an_id(self, rows: Rows, first: dict[str, str]) -> Rows:
        """Rows whose image is the only one of its id: a batch holds one image for an id, a second would not be seen.

        Args:
            rows: Converted rows.
            first: By image id its image so far in this split; this method adds to it.
        """
        usable: Rows = {}
        for number, row in rows.items():
            image_id, image = row["image_id"], row["image"]
            if first.setdefault(image_id, image) == image:
                usable[number] = row
                continue
            message = f"the image id {shown(image_id)} names {image} here and {first[image_id]} before."
            self._reject(number, ValueError(message))
        return usable

    def with_question_ids(self, rows: Rows, taken: dict[tuple[str | None, str], str]) -> Rows:
        """Rows each with a question id that no other of its split has.

        The file's own ids must differ. A row without one gets `<image id>|<question>`, and where the same question is
        asked of the same image again, `|2`, `|3` behind it.

        Args:
            rows: Converted rows; their question ids are filled in.
            taken: Ids given so far, each behind its split, with where; this method adds to it.
        """
        usable: Rows = {}
        for number, row in rows.items():
            own, split = row["question_id"], row.get("split")
            if own is not None and (split, own) in taken:
                self._reject(number, ValueError(f"the question id {shown(own)} is also that of {taken[split, own]}."))
                continue
            wanted = f"{row['image_id']}|{row['question']}"
            names = chain([own or wanted], (f"{wanted}|{repetition}" for repetition in count(2)))
            question_id = next(name for name in names if (split, name) not in taken)
            row["question_id"] = question_id
            taken[split, question_id] = f"row {number} of {self.name}"
            usable[number] = row
        return usable

    def _reject(self, number: int, error: Exception) -> None:
        self.bad_rows.add(self.name, number, error)


def missing_images(paths: Mapping[int, Path]) -> list[int]:
    """The keys of `paths` that are no entry of their folder."""
    folders = {path.parent for path in paths.values()}
    present = {folder: set(os.listdir(folder)) if folder.is_dir() else set() for folder in folders}
    return [key for key, path in paths.items() if path.name not in present[path.parent]]
