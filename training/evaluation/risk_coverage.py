"""What share of answers is wrong when only the most confident are given."""

import numpy as np


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
