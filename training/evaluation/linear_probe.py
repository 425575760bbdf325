"""A linear probe: what a logistic regression reads from an image encoder's frozen features."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from .auroc import areas_under_roc
from .finite import check_finite

# Inverse strengths of regularisation, of which validation chooses.
STRENGTHS = (0.001, 0.01, 0.1, 1.0)


@dataclass(frozen=True)
class LinearProbe:
    """A probe that was fitted, and the regularisation that validation chose for it."""

    classifier: Pipeline
    strength: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(n, labels) probabilities."""
        probabilities = self.classifier.predict_proba(features)
        # Of a single label scikit-learn gives that it is not there, too.
        last = self.classifier.steps[-1][1]
        alone = probabilities.shape[1] == 2 and isinstance(last, OneVsRestClassifier) and len([*last.estimators_]) == 1
        return probabilities[:, 1:] if alone else probabilities


def fit_linear_probe(
    features: np.ndarray,
    targets: np.ndarray,
    validation_features: np.ndarray,
    validation_targets: np.ndarray,
    several: bool,
) -> LinearProbe:
    """Fit one probe for each of `STRENGTHS` and keep that of the highest mean AUROC on validation.

    Args:
        features: (n, d) of the training images; each dimension is standardised.
        targets: (n, labels) bool, each label True somewhere and, with `several`, False somewhere.
        validation_features: (m, d).
        validation_targets: (m, labels).
        several: Whether an image may have several labels: then one regression a label, else one for all.

    Raises:
        ValueError: If a feature is not finite.
    """
    for rows, split in ((features, "training"), (validation_features, "validation")):
        check_finite(rows, [f"{split} image {row}" for row in range(len(rows))], "features")

    def fitted(strength: float) -> Pipeline:
        """The probe for an inverse strength of regularisation, scikit-learn's C."""
        regression = LogisticRegression(C=strength, max_iter=1000)
        classifier = make_pipeline(StandardScaler(), OneVsRestClassifier(regression) if several else regression)
        return classifier.fit(features, targets.astype(int) if several else targets.argmax(axis=1))

    def area(probe: LinearProbe) -> float:
        """Mean area under the ROC on validation; -1 where no label has both classes there."""
        areas = areas_under_roc(validation_targets, probe.scores(validation_features))
        return float(np.mean(areas)) if areas else -1.0

    return max((LinearProbe(fitted(strength), strength) for strength in STRENGTHS), key=area)
