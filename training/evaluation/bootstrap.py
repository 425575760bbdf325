"""Confidence intervals that respect that questions about one image are not independent."""

from collections.abc import Sequence

import numpy as np

from .finite import check_finite

_DRAWS_AT_ONCE = 1000


def bootstrap_ci95(
    correct: np.ndarray, image_ids: Sequence[str], draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the accuracy, by drawing whole images with replacement (cluster bootstrap).

    Args:
        correct: (n,) booleans or 0/1, whether each question was answered rightly; or any other value a question, such
            as an overlap between 0 and 1 or the difference of two systems.
        image_ids: N ids; the questions of one image are drawn together.
        draws: Number of bootstrap samples, each of as many images as there are.
        seed: Of the draws; equal arguments give equal intervals.

    Returns:
        Lower and upper bound in percent. Each draw's accuracy is its right answers over its questions, a ratio whose
        denominator varies, because images have unequal numbers of questions.

    Raises:
        ValueError: If there are no questions, not one image id a question, or a value is not finite.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 8.6 (what to draw) and 13.3.
    """
    correct = np.asarray(correct, dtype=float)
    if correct.ndim != 1 or correct.size == 0 or len(image_ids) != correct.size:
        raise ValueError(f"`correct` {correct.shape} must be a non-empty vector with an image id a question.")
    check_finite(correct, image_ids, "values")
    _, index = np.unique(np.asarray(image_ids, dtype=str), return_inverse=True)
    counts, hits = np.bincount(index), np.bincount(index, weights=correct)
    # Images with the same counts and hits are interchangeable, so drawing kinds of images instead of images has the
    # same distribution and needs (draws, kinds) numbers, where a few hundred kinds cover thousands of images.
    kinds, frequencies = np.unique(np.stack([counts, hits], axis=1), axis=0, return_counts=True)
    images, generator = frequencies.sum(), np.random.default_rng(seed)
    accuracies = []
    # Values that are no 0/1 can make every image a kind of its own: draws in blocks keep the memory small.
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        questions, right = (generator.multinomial(images, frequencies / images, size=size) @ kinds).T
        accuracies.append(100 * right / questions)
    low, high = np.percentile(np.concatenate(accuracies), [2.5, 97.5])
    return float(low), float(high)
