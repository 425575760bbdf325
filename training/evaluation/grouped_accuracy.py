"""Accuracy overall and by group, each with its interval over images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import bootstrap_ci95
from .prediction_rows import Prediction
from .results import Interval, Result

logger = logging.getLogger(__name__)

CLOSED_OR_OPEN = {True: "closed", False: "open", None: None}

_UNSPECIFIED = "unspecified"


@dataclass(frozen=True)
class Scores(Result):
    """Accuracies of a system's answers, in percent.

    Attributes:
        n: Questions.
        unscored: Of them, those without a reference.
        withheld: Of them, those that got no answer.
        overall: None where nothing could be scored. The groups below are only those that exist.
        by_answer_type: By the file's own closed and open.
        by_yes_no: By the paper's: closed where the reference is exactly yes or no, else open.
        by_question_type: By the file's own type; questions without one are "unspecified".
        by_modality: Likewise.
        by_organ: Likewise.
        by_dataset: By the data set that a question is of, where several are evaluated.
    """

    n: int
    unscored: int
    withheld: int
    overall: Interval | None
    by_answer_type: dict[str, Interval]
    by_yes_no: dict[str, Interval]
    by_question_type: dict[str, Interval]
    by_modality: dict[str, Interval]
    by_organ: dict[str, Interval]
    by_dataset: dict[str, Interval]


def mean_with_interval(rows: Sequence[Prediction], values: Sequence[float | None], measure: str) -> Interval | None:
    """Mean of a value a question, in percent, with the interval of `bootstrap_ci95` over images.

    Args:
        rows: N predictions.
        values: N values, 1 for 100 %; a question whose value is None does not count.
        measure: What the mean is called.

    Returns:
        The interval over the questions that count; None where no question has a value.
    """
    counted = [(row, value) for row, value in zip(rows, values, strict=True) if value is not None]
    if not counted:
        return None
    numbers = np.array([value for _, value in counted], dtype=float)
    low, high = bootstrap_ci95(numbers, [row.image_id for row, _ in counted])
    return Interval(float(100 * numbers.mean()), low, high, len(counted), measure)


def accuracy_with_interval(rows: Sequence[Prediction]) -> Interval | None:
    """Accuracy in percent over the rows that have a reference; None where no row has one."""
    return mean_with_interval(rows, [row.correct for row in rows], "accuracy")


def means_by_group(
    rows: Sequence[Prediction], values: Sequence[float | None], groups: Sequence[str | None], measure: str
) -> dict[str, Interval]:
    """`mean_with_interval` of each group, in alphabetical order.

    Args:
        rows: N predictions.
        values: N values.
        groups: N names; a row whose group is None belongs to none.
        measure: What the means are called.

    Returns:
        The means by group; a group without a value that counts is left out.
    """
    means = {
        group: mean_with_interval(
            rows, [value if own == group else None for own, value in zip(groups, values, strict=True)], measure
        )
        for group in sorted({group for group in groups if group is not None})
    }
    return {group: mean for group, mean in means.items() if mean is not None}


def with_unspecified(groups: Sequence[str | None]) -> list[str | None]:
    """The groups, those without a name called "unspecified", unless none has a name."""
    named = any(group is not None for group in groups)
    return [group or _UNSPECIFIED if named else None for group in groups]


def score_rows(rows: Sequence[Prediction]) -> Scores:
    """Overall and grouped accuracies; logged where no row has a reference."""
    unscored = sum(row.correct is None for row in rows)
    if unscored == len(rows):
        logger.warning("None of the %d questions has a reference answer: nothing could be scored.", len(rows))
    correct = [row.correct for row in rows]

    def by(groups: Sequence[str | None]) -> dict[str, Interval]:
        """Accuracies with intervals of groups in the order of the rows; None is no group."""
        return means_by_group(rows, correct, groups, "accuracy")

    return Scores(
        n=len(rows),
        unscored=unscored,
        withheld=sum(row.prediction is None for row in rows),
        overall=accuracy_with_interval(rows),
        by_answer_type=by([row.answer_type for row in rows]),
        by_yes_no=by([CLOSED_OR_OPEN[row.yes_no] for row in rows]),
        by_question_type=by(with_unspecified([row.question_type for row in rows])),
        by_modality=by(with_unspecified([row.modality for row in rows])),
        by_organ=by(with_unspecified([row.organ for row in rows])),
        by_dataset=by([row.dataset_name for row in rows]),
    )
