import itertools

import numpy as np
import pytest

from amif.training.evaluation.risk_coverage import risk_coverage_area, risk_coverage_curve


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
