"""Rows that cannot be used: stop at the first, or list them all and go on without."""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from transformers.utils import logging

from ..images import ImageCell, path_cell, unreadable_images
from ..names import ON_BAD_ROW
from ..schema import VqaRow
from ..shown_values import shown
from ..views import view_ids
from ..zipped_images import is_zipped

logger = logging.get_logger(__name__)

_Row = TypeVar("_Row")

# Converted rows by their number in the source, counted from 0.
Rows = dict[int, VqaRow]

# Question ids that are given, each behind its split, with the row that has it and that row's source.
TakenIds = dict[tuple[str | None, str], tuple[int, Path | str]]


class BadRows:
    """What happens to a bad row: an error that names file, row, value and cure, or a place on the list of skipped ones.

    Args:
        on_bad_row: "error" raises at the first; "skip" keeps it in `skipped` and goes on.

    Raises:
        ValueError: If `on_bad_row` is another.
    """

    def __init__(self, on_bad_row: str = "error") -> None:
        if on_bad_row not in ON_BAD_ROW:
            raise ValueError(f"on_bad_row must be one of {', '.join(ON_BAD_ROW)}, got {on_bad_row!r}.")
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

    def convert_files(
        self,
        rows: Iterable[Any],
        to_schema: Callable[[Mapping[str, Any]], VqaRow],
        taken: TakenIds | None = None,
    ) -> list[VqaRow]:
        """All steps for a published data set, whose images are files; `taken` knows the ids of its split's other files.

        Where bad rows are skipped, every image is decoded, for only so is it known which these are. Otherwise an image
        is opened when it is first used: published copies are checked by their counts.
        """
        usable = self.with_present_images(self.convert(rows, to_schema))
        if self.bad_rows.skip:
            usable = self.with_readable_images(usable)
        return list(self.with_question_ids(usable, {} if taken is None else taken).values())

    def with_present_images(self, rows: Rows, others: Collection[str] = ()) -> Rows:
        """Rows whose image file exists, or lies in a zip.

        Each folder is listed once: look-ups are slow on network file systems.

        Args:
            rows: Converted rows.
            others: Images that are no files.
        """
        images = _different_images(rows)
        missing = _first_of(missing_images(i for i in images if not is_zipped(i) and i not in others), rows)
        for number, image in missing.items():
            message = f"the image {image} does not exist ({len(missing)} of {len(rows)} rows have none)."
            self._reject(number, FileNotFoundError(message))
        return _without(missing, rows)

    def with_readable_images(self, rows: Rows, cell_of: Callable[[str], ImageCell] = path_cell) -> Rows:
        """Rows whose image can be decoded; each different image is decoded once.

        Args:
            rows: Converted rows.
            cell_of: The undecoded cell of one of a row's images.
        """
        reasons = unreadable_images(_different_images(rows), cell_of)
        unreadable = _first_of(reasons, rows)
        for number, image in unreadable.items():
            self._reject(number, ValueError(reasons[image]))
        return _without(unreadable, rows)

    def with_one_image_an_id(self, rows: Rows, first: dict[str, str]) -> Rows:
        """Rows whose image is the only one of its id: a batch holds one image for an id, a second would not be seen.

        Args:
            rows: Converted rows.
            first: By image id its image so far in this split; this method adds to it.
        """
        others: set[int] = set()
        for number, row in rows.items():
            images = images_of(row)
            for image_id, image in zip(view_ids(row["image_id"], len(images)), images, strict=True):
                if first.setdefault(image_id, image) != image:
                    message = f"the image id {shown(image_id)} names {image} here and {first[image_id]} before."
                    self._reject(number, ValueError(message))
                    others.add(number)
                    break
        return _without(others, rows)

    def with_question_ids(self, rows: Rows, taken: TakenIds) -> Rows:
        """Rows each with a question id that no other of its split has.

        The file's own ids must differ. A row without one gets `<image id>|<question>`, and where the same question is
        asked of the same image again, `|2`, `|3` behind it.

        Args:
            rows: Converted rows; their question ids are filled in.
            taken: Ids given so far, each behind its split, with where; this method adds to it.
        """
        repeated: set[int] = set()
        # Each goes on where it stopped: a question that is asked thousands of times is not counted from 2 each time.
        repetitions: dict[tuple[str | None, str], Iterator[int]] = defaultdict(lambda: count(2))
        for number, row in rows.items():
            own, split = row["question_id"], row.get("split")
            if own is not None and (split, own) in taken:
                place, source = taken[split, own]
                message = f"the question id {shown(own)} is also that of row {place} of {source}."
                self._reject(number, ValueError(message))
                repeated.add(number)
                continue
            wanted = f"{row['image_id']}|{row['question']}"
            question_id = own or wanted
            if (split, question_id) in taken:
                names = (f"{wanted}|{repetition}" for repetition in repetitions[split, wanted])
                question_id = next(name for name in names if (split, name) not in taken)
            row["question_id"] = question_id
            taken[split, question_id] = (number, self.name)
        return _without(repeated, rows)

    def _reject(self, number: int, error: Exception) -> None:
        self.bad_rows.add(self.name, number, error)


def images_of(row: VqaRow) -> list[str]:
    """The images of a converted row, one or several."""
    return row["image"] if isinstance(row["image"], list) else [row["image"]]


def drained(rows: list[_Row]) -> Iterator[_Row]:
    """The rows of a list, which lets go of each: a long table is not in memory beside what it is converted to."""
    rows.reverse()
    while rows:
        yield rows.pop()


def _different_images(rows: Rows) -> list[str]:
    return list(dict.fromkeys(image for row in rows.values() for image in images_of(row)))


def _first_of(images: Collection[str], rows: Rows) -> dict[int, str]:
    """Of each row that shows one of `images` the first of these."""
    if not images:
        return {}
    found = {number: next((i for i in images_of(row) if i in images), None) for number, row in rows.items()}
    return {number: image for number, image in found.items() if image is not None}


def _without(left_out: Collection[int], rows: Rows) -> Rows:
    return {number: row for number, row in rows.items() if number not in left_out} if left_out else rows


def missing_images(paths: Iterable[str]) -> set[str]:
    """Those of `paths` that are no entry of their folder."""
    present: dict[Path, set[str]] = {}
    missing = set()
    for path in paths:
        folder, name = Path(path).parent, Path(path).name
        if folder not in present:
            present[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
        if name not in present[folder]:
            missing.add(path)
    return missing
