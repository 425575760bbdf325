"""Whether one system answers the same questions better than another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import bootstrap_ci95
from .prediction_rows import Prediction
from .results import Interval, Result


@dataclass(frozen=True)
class Comparison(Result):
    """Paired comparison of two systems' answers to the same questions.

    Attributes:
        difference: Accuracy of the first less that of the second, in percentage points.
        only_first_right: Questions.
        only_second_right: Questions.
        changed: Percentage of questions whose correctness differs.
        mcnemar_p: Exact and two-sided; it takes questions for independent.
        permutation_p: Exact and two-sided; it exchanges the two systems' answers image by image.
    """

    difference: Interval
    only_first_right: int
    only_second_right: int
    changed: float
    mcnemar_p: float
    permutation_p: float

    def json_fields(self) -> Mapping[str, object]:
        """The difference's own fields, then the others."""
        fields = super().json_fields()
        return {**self.difference.json_fields(), **{name: fields[name] for name in fields if name != "difference"}}


def compare_predictions(first: Sequence[Prediction], second: Sequence[Prediction]) -> Comparison:
    """Paired comparison of two systems' answers to the same questions.

    Args:
        first: The answers of one system.
        second: Those of the other, in any order; questions without a reference are left out.

    Raises:
        ValueError: If the two do not answer the same questions, or no question has a reference.
    """
    pairs = _scored_pairs(first, second)
    differences = np.array([bool(one.correct) - bool(other.correct) for one, other in pairs])
    image_ids = [one.image_id for one, _ in pairs]
    wins, losses = int((differences == 1).sum()), int((differences == -1).sum())
    low, high = bootstrap_ci95(differences, image_ids)
    return Comparison(
        difference=Interval(float(100 * differences.mean()), low, high, len(pairs), "difference"),
        only_first_right=wins,
        only_second_right=losses,
        changed=100 * (wins + losses) / len(pairs),
        mcnemar_p=mcnemar_p(wins, losses),
        permutation_p=image_permutation_p(differences, image_ids),
    )


def _scored_pairs(first: Sequence[Prediction], second: Sequence[Prediction]) -> list[tuple[Prediction, Prediction]]:
    by_id = {row.question_id: row for row in second}
    if by_id.keys() != {row.question_id for row in first} or len(first) != len(second):
        odd = sorted(by_id.keys() ^ {row.question_id for row in first})
        raise ValueError(
            f"A paired comparison needs the same questions on both sides, each once: {len(first)} and {len(second)} "
            f"rows, question ids on one side only: {', '.join(odd[:10]) or 'none'}."
        )
    pairs = [(row, by_id[row.question_id]) for row in first if row.correct is not None]
    if not pairs:
        raise ValueError(f"None of the {len(first)} questions has a reference answer: there is nothing to compare.")
    return pairs


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for their number, so that any false alarm among all of them is as rare as the p says.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    order = np.argsort(p_values)
    stepped = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return corrected.tolist()


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided p of as uneven a division of the questions that one system alone answers rightly, if chance decided.

    The exact test: a binomial distribution with probability one half; 1 where the systems never differ.

    Source: McNemar, 1947; the exact form is in Agresti, Categorical Data Analysis, section 11.1.
    """
    if only_first + only_second == 0:
        return 1.0
    from scipy import stats  # here: it is slow to import, and most of what imports this file compares nothing

    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def image_permutation_p(differences: np.ndarray, image_ids: Sequence[str]) -> float:
    """Two-sided p of the summed difference when, image by image, the two systems' answers are exchanged by chance.

    All answers about an image are exchanged together, because they are not independent. The distribution of the sum
    over all exchanges is computed whole, image after image, so nothing is sampled.

    Args:
        differences: (n,) integers, what the first system scores on each question less what the second does.
        image_ids: N ids.

    Returns:
        The share of the exchanges whose sum is at least as far from zero as the observed one.
    """
    from scipy import stats

    _, index = np.unique(np.asarray(image_ids, dtype=str), return_inverse=True)
    by_image = np.bincount(index, weights=differences).round().astype(int)
    sizes, counts = np.unique(np.abs(by_image[by_image != 0]), return_counts=True)
    distribution = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        signed_sum = np.zeros(2 * size * count + 1)  # of `count` numbers of this size, from -size * count on
        signed_sum[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, signed_sum)
    sums = np.arange(len(distribution)) - len(distribution) // 2
    return float(min(1.0, distribution[np.abs(sums) >= abs(by_image.sum())].sum()))
