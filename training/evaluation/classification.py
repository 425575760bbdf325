"""How well scores tell images' labels: accuracy and area under the ROC curve, with intervals over images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .auroc import MeanAuroc, mean_auroc
from .bootstrap import bootstrap_ci95
from .finite import check_finite
from .results import Interval, Result


@dataclass(frozen=True)
class LabelMetrics(Result):
    """How well one label is told; `auroc` is None where all images have it, or none."""

    auroc: MeanAuroc | None
    positives: int


@dataclass(frozen=True)
class ClassificationMetrics(Result):
    """How well one classifier tells labels.

    Attributes:
        n: Images.
        accuracy: In percent, of images, or where the labels of each are decided one by one, of all pairs of image and
            label; None where nothing is decided.
        auroc: Mean over labels.
        by_label: By the labels' names.
    """

    n: int
    accuracy: Interval | None
    auroc: MeanAuroc | None
    by_label: dict[str, LabelMetrics]


@dataclass(frozen=True)
class ZeroShotMetrics(ClassificationMetrics):
    """Those of labels told by the similarity of an image to their prompts."""

    prompts: dict[str, list[str]]


@dataclass(frozen=True)
class LinearProbeMetrics(ClassificationMetrics):
    """Those of a linear probe of the given regularisation, on so many features."""

    strength: float
    features: int


def classification_metrics(
    targets: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    image_ids: Sequence[str],
    decided: np.ndarray | None = None,
) -> ClassificationMetrics:
    """Accuracy and areas of one classifier.

    Args:
        targets: (n, labels) bool.
        scores: (n, labels), higher where a label is more likely.
        names: Of the labels.
        image_ids: N ids, for the intervals.
        decided: (n, labels) bool, the labels that the classifier gives; None where there is no such decision, as for
            several labels an image that are only ranked. Where each image has one label, its highest score decides.

    Raises:
        ValueError: If the shapes do not fit, there are no rows, or a score is not finite.
    """
    if targets.shape != scores.shape or targets.shape != (len(image_ids), len(names)) or not len(targets):
        raise ValueError(
            f"Targets {targets.shape}, scores {scores.shape}, {len(names)} names and {len(image_ids)} ids do not fit."
        )
    check_finite(scores, image_ids, "scores")
    by_label = {}
    for place, name in enumerate(names):
        column = slice(place, place + 1)
        area = mean_auroc(targets[:, column], scores[:, column], image_ids)
        by_label[name] = LabelMetrics(area, int(targets[:, place].sum()))
    return ClassificationMetrics(
        n=len(targets),
        accuracy=_accuracy_of_decisions(targets, scores, image_ids, decided),
        auroc=mean_auroc(targets, scores, image_ids),
        by_label=by_label,
    )


def _accuracy_of_decisions(
    targets: np.ndarray, scores: np.ndarray, image_ids: Sequence[str], decided: np.ndarray | None
) -> Interval | None:
    if decided is not None:
        right = (decided == targets).mean(axis=1)
    elif (targets.sum(axis=1) == 1).all():
        right = targets[np.arange(len(targets)), scores.argmax(axis=1)].astype(float)
    else:
        return None
    low, high = bootstrap_ci95(right, image_ids)
    return Interval(float(100 * right.mean()), low, high, len(targets))
