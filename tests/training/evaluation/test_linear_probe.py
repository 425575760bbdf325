import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from amif.training.evaluation.linear_probe import STRENGTHS, fit_linear_probe


def draw(n, several, seed):
    """Features of which three of ten dimensions, of very unequal scale, tell the labels."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 10)) * np.logspace(-2, 2, 10) + 5
    told = (features[:, :3] - 5) / np.logspace(-2, 2, 10)[:3] + generator.normal(size=(n, 3))
    return features, told > 0.3 if several else np.eye(3, dtype=bool)[told.argmax(axis=1)]


@pytest.mark.parametrize("several", [False, True])
def test_is_the_logistic_regression_that_validation_chooses(several):
    (features, targets), (others, other_targets) = draw(80, several, 1), draw(60, several, 2)
    probe = fit_linear_probe(features, targets, others, other_targets, several)
    scaler = StandardScaler().fit(features)

    def scores(strength):
        ours, theirs = scaler.transform(features), scaler.transform(others)
        if several:
            fits = [LogisticRegression(C=strength, max_iter=1000).fit(ours, column) for column in targets.T]
            return np.column_stack([fit.predict_proba(theirs)[:, 1] for fit in fits])
        fit = LogisticRegression(C=strength, max_iter=1000).fit(ours, targets.argmax(axis=1))
        return fit.predict_proba(theirs)

    areas = {strength: roc_auc_score(other_targets, scores(strength), average="macro") for strength in STRENGTHS}
    assert probe.strength == max(areas, key=areas.get)
    np.testing.assert_allclose(probe.scores(others), scores(probe.strength), atol=1e-3)
    assert areas[probe.strength] > 0.7


@pytest.mark.parametrize("place", range(5))
def test_a_single_label_that_an_image_may_lack_and_few_validation_rows(place):
    (features, targets), (others, _) = draw(80, True, 1), draw(5, True, 2)
    alone = targets[:, :1]
    probe = fit_linear_probe(features, alone, others, np.eye(5, dtype=bool)[:, place : place + 1], several=True)
    scores = probe.scores(features)
    assert scores.shape == (80, 1)
    assert roc_auc_score(alone, scores) > 0.7
