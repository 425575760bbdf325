"""Whether confidence says how often an answer is right."""

import numpy as np


def reliability(confidences: np.ndarray, correct: np.ndarray, bins: int = 15) -> list[dict[str, float]]:
    """Confidence and accuracy in bins of equal width over [0, 1]; the first bin holds 0, the last one 1.

    Args:
        confidences: (n,) probabilities.
        correct: (n,) booleans.
        bins: how many; a bin that holds no answer is left out.

    Returns:
        For each bin its mean `confidence`, its `accuracy`, both between 0 and 1, and its number `n` of answers.
    """
    index = np.minimum((confidences * bins).astype(int), bins - 1)
    return [
        {
            "confidence": float(confidences[index == bin_].mean()),
            "accuracy": float(correct[index == bin_].mean()),
            "n": int((index == bin_).sum()),
        }
        for bin_ in np.unique(index)
    ]


def expected_calibration_error(confidences: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Mean distance of a bin's accuracy from its confidence, weighted by the bin's answers; 0 is calibrated, 1 worst.

    Arguments are those of `reliability`.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3.
    """
    table = reliability(confidences, correct, bins)
    return sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in table) / len(confidences)


def brier_score(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Mean squared distance of the confidence from 1 where the answer is right and from 0 where it is wrong.

    Source: Brier, Verification of forecasts expressed in terms of probability, 1950, for the event "it is right".
    """
    return float(np.mean((confidences - correct) ** 2))
