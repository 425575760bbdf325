import numpy as np
import pytest
from sklearn.metrics import accuracy_score, hamming_loss, roc_auc_score

from amif.training.evaluation.auroc import MeanAuroc
from amif.training.evaluation.classification import classification_metrics
from amif.training.reports.tables import classification_table, interval_cells

NAMES = ["cyst", "mass", "none"]
IDS = [str(row) for row in range(50)]


@pytest.fixture
def scores():
    return np.random.default_rng(2).normal(size=(50, 3))


def test_one_label_an_image_is_decided_by_the_highest_score(scores):
    labels = np.random.default_rng(3).integers(3, size=50)
    metrics = classification_metrics(np.eye(3, dtype=bool)[labels], scores, NAMES, IDS)
    assert metrics.accuracy.value == pytest.approx(100 * accuracy_score(labels, scores.argmax(axis=1)))
    assert metrics.by_label["mass"].positives == (labels == 1).sum()
    of_mass = metrics.by_label["mass"].auroc.value
    assert of_mass == pytest.approx(100 * roc_auc_score(labels == 1, scores[:, 1]))


def test_several_labels_an_image_count_each(scores):
    targets = np.random.default_rng(4).random((50, 3)) < 0.4
    metrics = classification_metrics(targets, scores, NAMES, IDS, decided=scores > 0)
    assert metrics.accuracy.value == pytest.approx(100 * (1 - hamming_loss(targets, scores > 0)))
    assert classification_metrics(targets, scores, NAMES, IDS).accuracy is None


def test_a_table_has_a_dash_where_nothing_is_decided(scores):
    targets = np.random.default_rng(4).random((50, 3)) < 0.4
    table = classification_table({"zero-shot": classification_metrics(targets, scores, NAMES, IDS)}, "mine")
    assert table.rows[0][:2] == ("zero-shot, accuracy", "-")
    assert table.rows[1][0] == "zero-shot, mean AUROC"


def test_an_area_without_an_interval_is_shown_without_one():
    assert interval_cells("AUROC", MeanAuroc(75.0, None, 4, 1)) == ("AUROC", "75.00", "-", "4")


def test_what_does_not_fit_is_refused(scores):
    with pytest.raises(ValueError, match="2 names"):
        classification_metrics(scores > 0, scores, NAMES[:2], IDS)
