"""From which confidence on a system answers, so that it errs no more often than wanted."""

from collections.abc import Sequence

import numpy as np

from .grouped_accuracy import mean_with_interval
from .prediction_rows import Row


def choose_abstention_threshold(rows: Sequence[Row], error_rate: float) -> float | None:
    """The lowest score that keeps the share of wrong answers among those at or above it within `error_rate`.

    Choose it on validation. The error rate is kept there; elsewhere it is kept about as well as validation resembles
    what comes, and the fewer answers are left, the less sure that is.

    Args:
        rows: `prediction_rows` of the validation split; those without an answer, a score or a reference do not count.
        error_rate: the wanted share of wrong answers among those given, between 0 and 1.

    Returns:
        The threshold on the score (a log-likelihood, nats), at or above which an answer is given; None where even the
        answers of the highest score are wrong more often.

    Raises:
        ValueError: where `error_rate` is not between 0 and 1, or no row has an answer, a score and a reference.
    """
    if not 0 <= error_rate <= 1:
        raise ValueError(f"The wanted error rate is {error_rate}: it must lie between 0 and 1.")
    counted = [row for row in _scored(rows) if row["prediction"] is not None]
    if not counted:
        raise ValueError("A threshold needs rows with a score and a reference; answers decoded freely have no score.")
    scores = np.array([row["score"] for row in counted])
    wrong = np.array([not row["correct"] for row in counted])
    # Answers of equal score are given or withheld together.
    thresholds, index, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    risks = np.cumsum(np.bincount(index, weights=wrong)) / np.cumsum(counts)
    kept = np.flatnonzero(risks <= error_rate)
    return float(-thresholds[kept[-1]]) if len(kept) else None


def _scored(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["score"] is not None and row["correct"] is not None]


def abstention(rows: Sequence[Row], threshold: float) -> Row | None:
    """What a threshold does on these rows.

    Args:
        rows: `prediction_rows`; those without a score or a reference do not count.
        threshold: on the score; answers below it are withheld, beside those that the system withheld itself.

    Returns:
        `threshold`; `coverage`, the percentage of answers given; `error_rate`, the percentage of wrong ones among
        them, None where none is given: both with intervals over images. None where no row counts.
    """
    counted = _scored(rows)
    if not counted:
        return None
    given = [row["prediction"] is not None and row["score"] >= threshold for row in counted]
    wrong = [not row["correct"] if answered else None for row, answered in zip(counted, given, strict=True)]
    return {
        "threshold": threshold,
        "coverage": mean_with_interval(counted, given, "share"),
        "error_rate": mean_with_interval(counted, wrong, "share"),
    }
