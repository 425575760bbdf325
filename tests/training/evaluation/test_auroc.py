import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from amif.training.evaluation.auroc import bootstrap_weights, mean_auroc, weighted_areas


@pytest.fixture
def scored():
    generator = np.random.default_rng(1)
    targets = generator.random((60, 3)) < (0.5, 0.2, 0.8)
    # Rounded, so that there are ties.
    return targets, (targets + generator.normal(0, 1, (60, 3))).round(1)


def ids(n, per_image=1):
    return [str(row // per_image) for row in range(n)]


def test_mean_is_scikit_learns_macro_average(scored):
    targets, scores = scored
    found = mean_auroc(targets, scores, ids(60))
    assert found.value == pytest.approx(100 * roc_auc_score(targets, scores, average="macro"))
    assert found.ci95[0] < found.value < found.ci95[1]
    assert (found.n, found.labels) == (60, 3)


def testweighted_areas_are_scikit_learns_with_sample_weights(scored):
    targets, scores = scored
    weights = bootstrap_weights(ids(60, per_image=2), 20)
    assert (weights.sum(axis=1) == 60).all(), "thirty images of two rows each"
    assert (weights[:, ::2] == weights[:, 1::2]).all(), "an image's rows are drawn together"
    areas = weighted_areas(targets[:, 1], scores[:, 1], weights)
    for drawn, area in zip(weights, areas, strict=True):
        assert area == pytest.approx(roc_auc_score(targets[:, 1], scores[:, 1], sample_weight=drawn))


def area_by_pairs(target, scores):
    """By counting pairs; scikit-learn takes milliseconds for each of thousands of draws."""
    above = scores[target][:, None] - scores[~target]
    return (np.sign(above).mean() + 1) / 2


def test_interval_is_that_of_a_loop_over_drawn_rows(scored):
    targets, scores = scored
    generator = np.random.default_rng(5)
    drawn = []
    for _ in range(1500):
        rows = generator.integers(60, size=60)
        drawn.append(100 * np.mean([area_by_pairs(targets[rows, label], scores[rows, label]) for label in range(3)]))
    interval = mean_auroc(targets, scores, ids(60), draws=4000).ci95
    np.testing.assert_allclose(interval, np.percentile(drawn, [2.5, 97.5]), atol=1)


def test_labels_that_all_or_none_have_are_left_out(scored):
    targets, scores = scored
    with_empty = np.column_stack([targets[:, 0], np.zeros(60, dtype=bool), np.ones(60, dtype=bool)])
    found = mean_auroc(with_empty, scores, ids(60))
    assert found.labels == 1
    assert found.value == pytest.approx(100 * roc_auc_score(targets[:, 0], scores[:, 0]))
    assert mean_auroc(with_empty[:, 1:], scores[:, 1:], ids(60)) is None


def test_a_perfect_and_a_blind_score():
    target = np.arange(10)[:, None] >= 5
    assert mean_auroc(target, np.arange(10.0)[:, None], ids(10)).value == 100
    assert mean_auroc(target, np.zeros((10, 1)), ids(10)).value == 50


@pytest.mark.filterwarnings("error")
def test_draws_without_a_rare_label_are_left_out():
    target, scores = np.arange(6)[:, None] == 0, np.array([[3.0], [1], [2], [4], [0], [5]])
    generator = np.random.default_rng(1)
    draws = (generator.integers(6, size=6) for _ in range(3000))
    areas = [100 * area_by_pairs(target[rows], scores[rows]) for rows in draws if 0 < target[rows].sum() < 6]
    found = mean_auroc(target, scores, ids(6)).ci95
    np.testing.assert_allclose(found, np.percentile(areas, [2.5, 97.5]), atol=5)
