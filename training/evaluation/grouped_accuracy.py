"""Accuracy overall and by group, each with its interval over images."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from .bootstrap import bootstrap_ci95
from .prediction_rows import Row

logger = logging.getLogger(__name__)

CLOSED_OR_OPEN = {True: "closed", False: "open"}


def accuracy_with_interval(rows: Sequence[Row]) -> Row | None:
    """`{"accuracy", "ci95", "n"}` in percent over the rows that have a reference; None where no row has one.

    `ci95` is the interval of `bootstrap_ci95` over images, `n` the number of scored questions.
    """
    scored = [row for row in rows if row["correct"] is not None]
    if not scored:
        return None
    correct = np.array([row["correct"] for row in scored])
    interval = bootstrap_ci95(correct, [str(row["image_id"]) for row in scored])
    return {"accuracy": float(100 * correct.mean()), "ci95": list(interval), "n": len(scored)}


def _accuracy_by(rows: Sequence[Row], group_of: Callable[[Row], str | None]) -> dict[str, Row]:
    """Accuracy of each group that has scored rows; rows whose group is None belong to none."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["correct"] is not None and group_of(row) is not None:
            groups[group_of(row)].append(row)
    return {group: accuracy_with_interval(groups[group]) for group in sorted(groups)}


def _accuracy_by_question_type(rows: Sequence[Row]) -> dict[str, Row]:
    if all(row["question_type"] is None for row in rows):
        return {}
    return _accuracy_by(rows, lambda row: row["question_type"] or "unspecified")


def score_rows(rows: Sequence[Row]) -> Row:
    """Overall and grouped accuracies of `prediction_rows`.

    Returns:
        `n` questions, of them `unscored` without a reference; `overall` (None where nothing could be scored);
        `by_answer_type` (the file's own closed and open), `by_yes_no` (closed: the reference is exactly yes or no)
        and `by_question_type`, each only with the groups that exist. Accuracies are `accuracy_with_interval`'s.
    """
    unscored = sum(row["correct"] is None for row in rows)
    if unscored == len(rows):
        logger.warning("None of the %d questions has a reference answer: nothing could be scored.", len(rows))
    return {
        "n": len(rows),
        "unscored": unscored,
        "overall": accuracy_with_interval(rows),
        "by_answer_type": _accuracy_by(rows, lambda row: row["answer_type"]),
        "by_yes_no": _accuracy_by(rows, lambda row: CLOSED_OR_OPEN[row["yes_no"]]),
        "by_question_type": _accuracy_by_question_type(rows),
    }
