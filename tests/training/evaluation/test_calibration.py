import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from amif.training.evaluation.calibration import brier_score, expected_calibration_error, reliability


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    confidences = generator.beta(2, 1, size=3000)
    return confidences, generator.random(3000) < confidences**2


def test_bins_are_those_of_scikit_learn(answers):
    accuracy, confidence = calibration_curve(answers[1], answers[0], n_bins=15)
    table = reliability(*answers)
    np.testing.assert_allclose([row["accuracy"] for row in table], accuracy)
    np.testing.assert_allclose([row["confidence"] for row in table], confidence)
    counts, _ = np.histogram(answers[0], bins=15, range=(0, 1))
    assert [row["n"] for row in table] == list(counts)


def test_calibration_error_weighs_scikit_learns_bins(answers):
    accuracy, confidence = calibration_curve(answers[1], answers[0], n_bins=15)
    counts, _ = np.histogram(answers[0], bins=15, range=(0, 1))
    expected = np.average(np.abs(accuracy - confidence), weights=counts)
    assert expected_calibration_error(*answers) == pytest.approx(expected)


def test_hand_worked_calibration_error():
    # Two answers at 0.9, one right: off by 0.4. Two at 0.1, none right: off by 0.1.
    confidences, correct = np.array([0.9, 0.9, 0.1, 0.1]), np.array([True, False, False, False])
    assert expected_calibration_error(confidences, correct) == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)


def test_certainty_falls_into_the_last_bin():
    assert reliability(np.array([0.0, 1.0]), np.array([False, True])) == [
        {"confidence": 0.0, "accuracy": 0.0, "n": 1},
        {"confidence": 1.0, "accuracy": 1.0, "n": 1},
    ]
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([True, False])) == 0.5


def test_brier_score_is_scikit_learns(answers):
    assert brier_score(*answers) == pytest.approx(brier_score_loss(answers[1], answers[0]))
