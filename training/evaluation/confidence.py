"""The confidence of an answer, as a probability."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .grouped_accuracy import mean_with_interval
from .prediction_rows import Prediction
from .results import Interval, Result


@dataclass(frozen=True)
class Abstention(Result):
    """What a threshold on the score does.

    Attributes:
        threshold: Answers of a lower score are withheld, beside those that the system withheld itself.
        coverage: Percentage of answers given.
        error_rate: Percentage of wrong ones among them; None where none is given.
    """

    threshold: float
    coverage: Interval | None
    error_rate: Interval | None


@dataclass(frozen=True)
class ConfidenceMeasures(Result):
    """How far confidences can be trusted; each measure is between 0 and 1.

    Attributes:
        n: Answers with both a score and a reference.
        expected_calibration_error: See the function of that name.
        brier_score: See the function of that name.
        risk_coverage_area: See the function of that name.
        abstention: None where there is no threshold.
    """

    n: int
    expected_calibration_error: float
    brier_score: float
    risk_coverage_area: float
    abstention: Abstention | None


@dataclass(frozen=True)
class CalibrationBin:
    """The `n` answers of one bin of confidence: their mean confidence and their accuracy, between 0 and 1."""

    confidence: float
    accuracy: float
    n: int


def confidence_measures(
    rows: Sequence[Prediction], abstention_threshold: float | None = None
) -> ConfidenceMeasures | None:
    """All measures of the rows' confidences; None where no row has both a score and a reference."""
    confidences, correct = confidences_and_verdicts(rows)
    if not len(confidences):
        return None
    return ConfidenceMeasures(
        n=len(confidences),
        expected_calibration_error=expected_calibration_error(confidences, correct),
        brier_score=brier_score(confidences, correct),
        risk_coverage_area=risk_coverage_area(confidences, correct),
        abstention=None if abstention_threshold is None else abstention(rows, abstention_threshold),
    )


def confidences_and_verdicts(rows: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    """What a system says of its answers, and what is true.

    Args:
        rows: Those without a score or without a reference do not count.

    Returns:
        (n,) confidences, the probability of the answer's tokens, which is exp(score); and (n,) booleans, whether the
        answer is right.
    """
    counted = [(score, row.correct) for row, score in _scored(rows)]
    scores = np.array([score for score, _ in counted], dtype=float)
    # A log-likelihood may be rounded to a little above zero.
    return np.exp(np.minimum(scores, 0.0)), np.array([correct for _, correct in counted], dtype=bool)


def _scored(rows: Sequence[Prediction]) -> list[tuple[Prediction, float]]:
    """The rows that have a reference and a score, each with its score."""
    return [(row, row.score) for row in rows if row.score is not None and row.correct is not None]


def choose_abstention_threshold(rows: Sequence[Prediction], error_rate: float) -> float | None:
    """The lowest score that keeps the share of wrong answers among those at or above it within `error_rate`.

    Choose it on validation. The error rate is kept there; elsewhere it is kept about as well as validation resembles
    what comes, and the fewer answers are left, the less sure that is.

    Args:
        rows: Of the validation split; those without an answer, a score or a reference do not count.
        error_rate: The wanted share of wrong answers among those given, between 0 and 1.

    Returns:
        The threshold on the score (a log-likelihood, nats), at or above which an answer is given; None where even the
        answers of the highest score are wrong more often.

    Raises:
        ValueError: If `error_rate` is not between 0 and 1, or no row has an answer, a score and a reference.
    """
    if not 0 <= error_rate <= 1:
        raise ValueError(f"The wanted error rate is {error_rate}: it must lie between 0 and 1.")
    counted = [(row, score) for row, score in _scored(rows) if row.prediction is not None]
    if not counted:
        raise ValueError("A threshold needs rows with a score and a reference; answers decoded freely have no score.")
    scores = np.array([score for _, score in counted])
    wrong = np.array([not row.correct for row, _ in counted])
    # Answers of equal score are given or withheld together.
    thresholds, index, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    risks = np.cumsum(np.bincount(index, weights=wrong)) / np.cumsum(counts)
    kept = np.flatnonzero(risks <= error_rate)
    return float(-thresholds[kept[-1]]) if len(kept) else None


def abstention(rows: Sequence[Prediction], threshold: float) -> Abstention | None:
    """What a threshold does on these rows; None where no row has both a score and a reference.

    Raises:
        ValueError: If the threshold is not finite.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"The threshold of abstention is {threshold}: give a log-likelihood, as chosen on validation.")
    counted = _scored(rows)
    if not counted:
        return None
    asked = [row for row, _ in counted]
    given = [row.prediction is not None and score >= threshold for row, score in counted]
    wrong = [not row.correct if answered else None for row, answered in zip(asked, given, strict=True)]
    return Abstention(threshold, mean_with_interval(asked, given, "share"), mean_with_interval(asked, wrong, "share"))


def reliability(confidences: np.ndarray, correct: np.ndarray, bins: int = 15) -> list[CalibrationBin]:
    """Confidence and accuracy in bins of equal width over [0, 1]; the first bin holds 0, the last one 1.

    Args:
        confidences: (n,) probabilities.
        correct: (n,) booleans.
        bins: How many; a bin that holds no answer is left out.
    """
    index = np.minimum((confidences * bins).astype(int), bins - 1)
    return [
        CalibrationBin(
            confidence=float(confidences[index == bin_].mean()),
            accuracy=float(correct[index == bin_].mean()),
            n=int((index == bin_).sum()),
        )
        for bin_ in np.unique(index)
    ]


def expected_calibration_error(confidences: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Mean distance of a bin's accuracy from its confidence, weighted by the bin's answers; 0 is calibrated, 1 worst.

    Arguments are those of `reliability`.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3.
    """
    table = reliability(confidences, correct, bins)
    return sum(one.n * abs(one.accuracy - one.confidence) for one in table) / len(confidences)


def brier_score(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Mean squared distance of the confidence from 1 where the answer is right and from 0 where it is wrong.

    Source: Brier, Verification of forecasts expressed in terms of probability, 1950, for the event "it is right".
    """
    return float(np.mean((confidences - correct) ** 2))


def risk_coverage_curve(confidences: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error rate among the k most confident answers, for every k.

    Answers of equal confidence have no order, so that each counts with the error rate of all of them: the curve is the
    mean over every order they could have, and does not depend on that of the rows.

    Args:
        confidences: (n,) numbers, higher for more confident.
        correct: (n,) booleans.

    Returns:
        (n,) coverages 1/n, 2/n .. 1 and (n,) risks, between 0 and 1.

    Source: El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification, 2010.
    """
    _, tie, counts = np.unique(-confidences, return_inverse=True, return_counts=True)
    error_rates = np.bincount(tie, weights=~correct) / counts
    answered = np.arange(1, len(confidences) + 1)
    return answered / len(confidences), np.cumsum(np.repeat(error_rates, counts)) / answered


def risk_coverage_area(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Area under `risk_coverage_curve`: the mean of its risks, lower is better.

    A confidence that tells nothing gives the error rate; one that puts all right answers first gives the least.

    Source: Geifman et al., Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, 2019.
    """
    return float(risk_coverage_curve(confidences, correct)[1].mean())
