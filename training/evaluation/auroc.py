"""Area under the ROC curve of one label or the mean over several, with an interval over images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .results import Result


@dataclass(frozen=True)
class MeanAuroc(Result):
    """Mean over labels of the area under the ROC curve.

    Attributes:
        value: In percent.
        ci95: Its interval over images; None where each draw of the bootstrap is left without labels.
        n: Rows.
        labels: Labels that count.
    """

    value: float
    ci95: tuple[float, float] | None
    n: int
    labels: int

    def json_fields(self) -> Mapping[str, object]:
        """The value as `auroc`, then the others."""
        return {"auroc": self.value, "ci95": self.ci95, "n": self.n, "labels": self.labels}


def areas_under_roc(targets: np.ndarray, scores: np.ndarray) -> list[float]:
    """The area of each label, between 0 and 1; labels that all rows have, or none, are left out. Arguments as below."""
    from sklearn.metrics import roc_auc_score  # here: tables import this file for its type alone

    return [float(roc_auc_score(targets[:, label], scores[:, label])) for label in _told_apart(targets)]


def _told_apart(targets: np.ndarray) -> list[int]:
    return [label for label in range(targets.shape[1]) if 0 < targets[:, label].sum() < len(targets)]


def mean_auroc(
    targets: np.ndarray, scores: np.ndarray, image_ids: Sequence[str], draws: int = 1000
) -> MeanAuroc | None:
    """Mean over labels of the area under the ROC curve, each label against the rest.

    Args:
        targets: (n, labels) bool.
        scores: (n, labels), higher where a label is more likely; only the order within a label counts.
        image_ids: N ids; the bootstrap draws all rows of an id together.
        draws: Of the bootstrap, with seed 0.

    Returns:
        The mean of the labels that some rows have and some have not; the others are left out, also of each draw, and so
        is a draw that is left without labels. None where no label is left.
    """
    used = _told_apart(targets)
    if not used:
        return None
    weights = bootstrap_weights(image_ids, draws)
    drawn = np.stack([weighted_areas(targets[:, label], scores[:, label], weights) for label in used])
    drawn = drawn[:, ~np.isnan(drawn).all(axis=0)]
    interval = None
    if drawn.size:
        low, high = np.percentile(100 * np.nanmean(drawn, axis=0), [2.5, 97.5])
        interval = float(low), float(high)
    mean = float(100 * np.mean(areas_under_roc(targets, scores)))
    return MeanAuroc(mean, interval, len(targets), len(used))


def bootstrap_weights(image_ids: Sequence[str], draws: int) -> np.ndarray:
    """(draws, n): how often each draw of as many images as there are holds each row."""
    images, index = np.unique(np.asarray(image_ids, dtype=str), return_inverse=True)
    counts = np.random.default_rng(0).multinomial(len(images), np.full(len(images), 1 / len(images)), size=draws)
    return counts[:, index].astype(float)


def weighted_areas(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(draws,) areas: the share of pairs of a positive and a negative in which the positive scores higher; NaN without.

    Source: Hanley and McNeil, 1982: the area is the Mann-Whitney statistic, ties counted half.
    """
    above = score[target][:, None] - score[~target]
    wins = (above > 0) + 0.5 * (above == 0)
    positive, negative = weights[:, target], weights[:, ~target]
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    won = ((positive @ wins) * negative).sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
