import itertools
from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from small_evaluations import prediction

from amif.training.evaluation.confidence import (
    CalibrationBin,
    abstention,
    brier_score,
    choose_abstention_threshold,
    confidences_and_verdicts,
    expected_calibration_error,
    reliability,
    risk_coverage_area,
    risk_coverage_curve,
)


def test_confidence_is_the_probability_of_the_answer():
    rows = [
        prediction(score=float(np.log(0.25)), correct=True),
        prediction(score=1e-7, correct=False),
        prediction(score=None, correct=True),
        prediction(score=-1.0, correct=None),
    ]
    confidences, correct = confidences_and_verdicts(rows)
    np.testing.assert_allclose(confidences, [0.25, 1.0])
    assert confidences.max() <= 1.0
    assert correct.tolist() == [True, False]


def rows(scores, correct):
    return [
        prediction(image_id=str(row), prediction="yes", score=score, correct=right)
        for row, (score, right) in enumerate(zip(scores, correct, strict=True))
    ]


def naive_threshold(scores, correct, error_rate):
    """The threshold of most answers among those that keep the error rate."""
    best = None
    for threshold in sorted(set(scores), reverse=True):
        wrong = [not right for score, right in zip(scores, correct, strict=True) if score >= threshold]
        if np.mean(wrong) <= error_rate:
            best = threshold
    return best


@pytest.mark.parametrize("error_rate", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_threshold_is_that_of_a_naive_loop(error_rate):
    generator = np.random.default_rng(4)
    for _ in range(30):
        scores = np.round(-3 * generator.random(60), 1)  # with ties
        correct = generator.random(60) < np.exp(scores)
        expected = naive_threshold(scores, correct, error_rate)
        assert choose_abstention_threshold(rows(scores, correct), error_rate) == expected


def test_hand_worked_case():
    given = rows([-0.1, -0.2, -0.3, -0.4, -0.5], [True, True, False, True, False])
    assert choose_abstention_threshold(given, 0.25) == -0.4
    result = abstention(given, -0.4)
    assert (result.coverage.value, result.error_rate.value) == (80.0, 25.0)
    assert (result.coverage.n, result.error_rate.n) == (5, 4)


def test_wanted_error_rate_out_of_reach():
    given = rows([-0.1, -0.2], [False, True])
    assert choose_abstention_threshold(given, 0.4) is None
    assert choose_abstention_threshold(given, 0.5) == -0.2


def test_a_threshold_above_all_withholds_everything():
    result = abstention(rows([-1.0, -2.0], [True, False]), -0.5)
    assert (result.coverage.value, result.error_rate) == (0.0, None)


def test_rows_without_score_or_reference_do_not_count():
    given = rows([-0.1, None, -0.2], [True, False, None])
    assert choose_abstention_threshold(given, 0.1) == -0.1
    assert abstention(given, -5.0).coverage.n == 1
    assert abstention(rows([None], [True]), -1.0) is None
    with pytest.raises(ValueError, match="score and a reference"):
        choose_abstention_threshold(rows([None], [True]), 0.1)
    with pytest.raises(ValueError, match=r"1\.5.*between 0 and 1"):
        choose_abstention_threshold(given, 1.5)


def test_an_answer_that_the_system_withheld_is_not_given_whatever_its_score():
    given = rows([-0.1, -0.2], [False, True])
    given[0] = replace(given[0], prediction=None)
    assert choose_abstention_threshold(given, 0.0) == -0.2
    result = abstention(given, -0.3)
    assert (result.coverage.value, result.error_rate.value) == (50.0, 0.0)


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    confidences = generator.beta(2, 1, size=3000)
    return confidences, generator.random(3000) < confidences**2


def test_bins_are_those_of_scikit_learn(answers):
    accuracy, confidence = calibration_curve(answers[1], answers[0], n_bins=15)
    table = reliability(*answers)
    np.testing.assert_allclose([one.accuracy for one in table], accuracy)
    np.testing.assert_allclose([one.confidence for one in table], confidence)
    counts, _ = np.histogram(answers[0], bins=15, range=(0, 1))
    assert [one.n for one in table] == list(counts)


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
        CalibrationBin(confidence=0.0, accuracy=0.0, n=1),
        CalibrationBin(confidence=1.0, accuracy=1.0, n=1),
    ]
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([True, False])) == 0.5


def test_brier_score_is_scikit_learns(answers):
    assert brier_score(*answers) == pytest.approx(brier_score_loss(answers[1], answers[0]))


def naive_curve(confidences, correct):
    order = sorted(range(len(correct)), key=lambda row: -confidences[row])
    return [np.mean([not correct[row] for row in order[:k]]) for k in range(1, len(order) + 1)]


def test_curve_is_that_of_a_naive_loop():
    generator = np.random.default_rng(0)
    confidences, correct = generator.random(200), generator.random(200) < 0.6
    coverages, risks = risk_coverage_curve(confidences, correct)
    np.testing.assert_allclose(risks, naive_curve(confidences, correct))
    np.testing.assert_allclose(coverages, np.arange(1, 201) / 200)
    assert risk_coverage_area(confidences, correct) == pytest.approx(np.mean(naive_curve(confidences, correct)))


def test_ties_count_as_the_mean_over_their_orders():
    confidences, correct = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([True, False, True, True, False])
    orders = [np.array([0, *middle, 4]) for middle in itertools.permutations([1, 2, 3])]
    expected = np.mean([naive_curve([5, 4, 3, 2, 1], correct[order]) for order in orders], axis=0)
    np.testing.assert_allclose(risk_coverage_curve(confidences, correct)[1], expected)


def test_order_of_rows_does_not_matter():
    generator = np.random.default_rng(1)
    confidences, correct = generator.integers(4, size=60) / 4, generator.random(60) < 0.5
    order = generator.permutation(60)
    assert risk_coverage_area(confidences, correct) == pytest.approx(
        risk_coverage_area(confidences[order], correct[order])
    )


def test_confidence_that_tells_nothing_leaves_the_error_rate_and_a_perfect_one_the_least():
    correct = np.array([True] * 6 + [False] * 4)
    assert risk_coverage_area(np.full(10, 0.3), correct) == pytest.approx(0.4)
    least = np.mean([max(0, k - 6) / k for k in range(1, 11)])
    assert risk_coverage_area(np.linspace(1, 0, 10), correct) == pytest.approx(least)
