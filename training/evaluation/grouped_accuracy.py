"""Accuracy overall and by group, each with its interval over images."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from .bootstrap import bootstrap_ci95
from .prediction_rows import Row

logger = logging.getLogger(__name__)

CLOSED_OR_OPEN = {True: "closed", False: "open"}


def mean_with_interval(rows: Sequence[Row], values: Sequence[float | None], name: str) -> Row | None:
    """`{name, "ci95", "n"}` of a value a question, in percent; None where no question has a value.

    Args:
        rows: n rows of `prediction_rows`.
        values: n values, 1 for 100 %; a question whose value is None does not count.
        name: what the mean is called.

    Returns:
        `ci95` is the interval of `bootstrap_ci95` over images, `n` the number of questions that count.
    """
    counted = [(row, value) for row, value in zip(rows, values, strict=True) if value is not None]
    if not counted:
        return None
    numbers = np.array([value for _, value in counted], dtype=float)
    interval = bootstrap_ci95(numbers, [str(row["image_id"]) for row, _ in counted])
    return {name: float(100 * numbers.mean()), "ci95": list(interval), "n": len(counted)}


def accuracy_with_interval(rows: Sequence[Row]) -> Row | None:
    """`{"accuracy", "ci95", "n"}` in percent over the rows that have a reference; None where no row has one."""
    return mean_with_interval(rows, [row["correct"] for row in rows], "accuracy")


def _accuracy_by(rows: Sequence[Row], group_of: Callable[[Row], str | None]) -> dict[str, Row]:
    """Accuracy of each group that has scored rows; rows whose group is None belong to none."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["correct"] is not None and group_of(row) is not None:
            groups[group_of(row)].append(row)
    return {group: accuracy_with_interval(groups[group]) for group in sorted(groups)}


def means_by_column(rows: Sequence[Row], values: Sequence[float | None], column: str, name: str) -> dict[str, Row]:
    """`mean_with_interval` of each value of a column, and of the rows without one as "unspecified".

    Nothing if no row has one; a group without a value that counts is left out.
    """
    if all(row.get(column) is None for row in rows):
        return {}
    groups = [row.get(column) or "unspecified" for row in rows]
    means = {
        group: mean_with_interval(
            rows, [value if own == group else None for own, value in zip(groups, values, strict=True)], name
        )
        for group in sorted(set(groups))
    }
    return {group: mean for group, mean in means.items() if mean is not None}


def score_rows(rows: Sequence[Row]) -> Row:
    """Overall and grouped accuracies of `prediction_rows`.

    Returns:
        `n` questions, of them `unscored` without a reference and `withheld` without an answer; `overall` (None where
        nothing could be scored); `by_answer_type` (the file's own closed and open), `by_yes_no` (closed: the reference
        is exactly yes or no), `by_question_type`, `by_modality` and `by_organ`, each only with the groups that exist.
        Accuracies are `accuracy_with_interval`'s.
    """
    unscored = sum(row["correct"] is None for row in rows)
    if unscored == len(rows):
        logger.warning("None of the %d questions has a reference answer: nothing could be scored.", len(rows))
    correct, columns = [row["correct"] for row in rows], ("question_type", "modality", "organ")
    return {
        "n": len(rows),
        "unscored": unscored,
        "withheld": sum(row["prediction"] is None for row in rows),
        "overall": accuracy_with_interval(rows),
        "by_answer_type": _accuracy_by(rows, lambda row: row["answer_type"]),
        "by_yes_no": _accuracy_by(rows, lambda row: CLOSED_OR_OPEN[row["yes_no"]]),
        **{f"by_{column}": means_by_column(rows, correct, column, "accuracy") for column in columns},
    }
