"""How well scores tell images' labels: accuracy and area under the ROC curve, with intervals over images."""

from collections.abc import Sequence

import numpy as np

from .auroc import mean_auroc
from .bootstrap import bootstrap_ci95
from .prediction_rows import Row


def classification_metrics(
    targets: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    image_ids: Sequence[str],
    decided: np.ndarray | None = None,
) -> Row:
    """Accuracy and areas of one classifier.

    Args:
        targets: (n, labels) bool.
        scores: (n, labels), higher where a label is more likely.
        names: of the labels.
        image_ids: n ids, for the intervals.
        decided: (n, labels) bool, the labels that the classifier gives; None where there is no such decision, as for
            several labels an image that are only ranked. Where each image has one label, its highest score decides.

    Returns:
        `n`; `accuracy`, `{"accuracy", "ci95", "n"}` in percent: of images, or with `decided` of all pairs of image and
        label, else None; `auroc` as `mean_auroc`; `by_label`: for each name `auroc` and the number of `positives`.

    Raises:
        ValueError: where the shapes do not fit, or there are no rows.
    """
    if targets.shape != scores.shape or targets.shape != (len(image_ids), len(names)) or not len(targets):
        raise ValueError(
            f"Targets {targets.shape}, scores {scores.shape}, {len(names)} names and {len(image_ids)} ids do not fit."
        )
    by_label = {}
    for place, name in enumerate(names):
        column = slice(place, place + 1)
        area = mean_auroc(targets[:, column], scores[:, column], image_ids)
        by_label[name] = {"auroc": area, "positives": int(targets[:, place].sum())}
    return {
        "n": len(targets),
        "accuracy": _accuracy(targets, scores, image_ids, decided),
        "auroc": mean_auroc(targets, scores, image_ids),
        "by_label": by_label,
    }


def _accuracy(
    targets: np.ndarray, scores: np.ndarray, image_ids: Sequence[str], decided: np.ndarray | None
) -> Row | None:
    if decided is not None:
        right = (decided == targets).mean(axis=1)
    elif (targets.sum(axis=1) == 1).all():
        right = targets[np.arange(len(targets)), scores.argmax(axis=1)].astype(float)
    else:
        return None
    return {
        "accuracy": float(100 * right.mean()),
        "ci95": list(bootstrap_ci95(right, image_ids)),
        "n": len(targets),
    }
