"""Labels of images, from a column of image-report pairs: one a row, or several."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset, DatasetDict, LargeList, List

# What a row without a label is labelled with where each row has one, such as a normal study's finding.
NO_LABEL = "none"


@dataclass(frozen=True)
class LabelColumn:
    """Which column holds the labels, and which labels count.

    Args:
        column: Its name.
        names: The labels, in the order of their columns in `targets`.
        several: Whether a row may have several of them, or none.
        separator: What parts the labels of a row, where they are written as one text; None where they are a list, or
            each row has one.
    """

    column: str
    names: tuple[str, ...]
    several: bool
    separator: str | None = None

    def labels(self, rows: Dataset) -> list[list[str]]:
        """The labels of each row, also those that do not count."""
        return [_labels_of(cell, self.separator, self.several) for cell in rows[self.column]]

    def usable(self, rows: Dataset) -> Dataset:
        """The rows that can be scored: all, or where each has one label, those whose label counts."""
        if self.several:
            return rows
        counts = [labels[0] in self.names for labels in self.labels(rows)]
        return rows.select(np.flatnonzero(counts))

    def targets(self, rows: Dataset) -> np.ndarray:
        """(n, number of names) bool, True where a row has a label."""
        return np.array([[name in labels for name in self.names] for labels in self.labels(rows)], dtype=bool)


def find_labels(
    splits: DatasetDict,
    column: str,
    separator: str | None = None,
    wanted: Collection[str] | None = None,
    min_count: int = 1,
) -> LabelColumn:
    """The labels of the training split, in alphabetical order.

    Args:
        splits: Rows with the column; several labels a row are a list, or a text that `separator` parts.
        column: Its name.
        separator: See `LabelColumn`.
        wanted: Only these; None takes all.
        min_count: Only labels of so many training rows or more.

    Raises:
        ValueError: If there is no such column, a wanted label is not there, or fewer labels than two are left, than
            one where a row may have several.
    """
    train = splits["train"]
    if column not in train.column_names:
        raise ValueError(f"There is no column {column!r} of labels; there are {', '.join(train.column_names)}.")
    several = separator is not None or isinstance(train.features[column], List | LargeList)
    counts = Counter(label for cell in train[column] for label in _labels_of(cell, separator, several))
    if unknown := sorted(set(wanted or ()) - counts.keys()):
        raise ValueError(f"No training row has the label {', '.join(unknown)}; there are {', '.join(sorted(counts))}.")
    names = sorted(name for name, count in counts.items() if count >= min_count and (not wanted or name in wanted))
    if len(names) < (1 if several else 2):
        raise ValueError(
            f"Column {column!r} leaves {len(names)} labels to tell apart: it has {len(counts)} in training, of which "
            f"those of fewer than {min_count} rows, and those that were not asked for, are left out."
        )
    return LabelColumn(column, tuple(names), several, separator)


def _labels_of(cell: str | Sequence[str] | None, separator: str | None, several: bool) -> list[str]:
    if not several:
        return [NO_LABEL if cell is None else str(cell)]
    parts = cell.split(separator) if isinstance(cell, str) else cell or []
    return [str(part).strip() for part in parts if str(part).strip()]
