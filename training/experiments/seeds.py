"""What runs that differ in their seed alone say together: means over seeds, and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from scipy import stats

from ..evaluation.prediction_rows import Prediction
from ..evaluation.results import Result
from ..evaluation.significance import Comparison, compare_predictions


@dataclass(frozen=True)
class SeedMean(Result):
    """A figure of each seed, and what they say of another seed.

    Attributes:
        by_seed: The figure by seed.
        mean: Their mean; None where there is no seed.
        ci95: Bounds by Student's t over seeds; None where there are fewer than two.
    """

    by_seed: Mapping[int, float]
    mean: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class PairedDifference(SeedMean):
    """One model less another, in percentage points, over the seeds that both have.

    The interval over seeds says whether another seed would tell the same.

    Attributes:
        images: The paired comparison of all seeds' answers, in which the answers of all seeds about one image are one
            unit: it says whether other images would tell the same of these very models.
    """

    images: Comparison


def mean_over_seeds(by_seed: Mapping[int, float]) -> SeedMean:
    """The mean of a figure over seeds, with its interval as far as there are seeds for it."""
    values = list(by_seed.values())
    if len(values) < 2:
        return SeedMean(by_seed, values[0] if values else None, None)
    mean = fmean(values)
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return SeedMean(by_seed, mean, (mean - half, mean + half))


def pool_seeds(by_seed: Mapping[int, Sequence[Prediction]]) -> list[Prediction]:
    """The answers of all seeds together: a question is another one with each seed, its image the same."""
    return [
        replace(answer, question_id=f"{seed}|{answer.question_id}")
        for seed, answers in by_seed.items()
        for answer in answers
    ]


def accuracy(answers: Sequence[Prediction]) -> float:
    """Right answers in percent, of those that have a reference."""
    return 100 * fmean(answer.correct for answer in answers if answer.correct is not None)


def paired_difference(
    first: Mapping[int, Sequence[Prediction]], second: Mapping[int, Sequence[Prediction]]
) -> PairedDifference | None:
    """One model less another, over the seeds that both have; None where they share none.

    Args:
        first: The answers of one model by seed.
        second: Those of the other to the same questions.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    points = mean_over_seeds({seed: accuracy(first[seed]) - accuracy(second[seed]) for seed in seeds})
    pooled, base = (pool_seeds({seed: side[seed] for seed in seeds}) for side in (first, second))
    return PairedDifference(points.by_seed, points.mean, points.ci95, compare_predictions(pooled, base))
