import math

import numpy as np
import pytest

from amif.training.evaluation.overlap_ranking import mean_rank_correlation, overlap_of_visible


def test_overlap_is_what_is_shared_of_what_is_seen_in_either():
    studies = [
        ("ct", "mass", "left"),
        ("ct", "mass", "right"),
        ("ct", None, None),
        ("mri", None, None),
        (None, None, None),
    ]
    expected = np.eye(5)
    expected[0, 1] = expected[1, 0] = 2 / 4
    expected[[0, 1, 2, 2], [2, 2, 0, 1]] = 1 / 3
    expected[4, 4] = 0  # what is not seen is not shared
    assert overlap_of_visible(studies) == pytest.approx(expected)


def ranks(values):
    """Ranks from 1, ties get their mean."""
    return [1 + sum(o < v for o in values) + (sum(o == v for o in values) - 1) / 2 for v in values]


def test_correlation_is_that_of_ranks_without_oneself():
    generator = np.random.default_rng(0)
    similarity, overlap = generator.normal(size=(7, 7)), generator.integers(0, 4, size=(7, 7)) / 4
    expected = []
    for study in range(7):
        others = [other for other in range(7) if other != study]
        pairs = ranks(similarity[study][others].tolist()), ranks(overlap[study][others].tolist())
        expected.append(np.corrcoef(*pairs)[0, 1])
    assert mean_rank_correlation(similarity, overlap) == pytest.approx(np.mean(expected))
    np.fill_diagonal(similarity, 1e6)
    assert mean_rank_correlation(similarity, overlap) == pytest.approx(np.mean(expected))


def test_only_the_order_counts_and_constant_rows_do_not():
    overlap = np.array([[1, 0.2, 0.5], [0.3, 1, 0.4], [0.7, 0.7, 1]])
    assert mean_rank_correlation(np.exp(9 * overlap), overlap) == pytest.approx(1)
    assert mean_rank_correlation(-overlap, overlap) == pytest.approx(-1)
    assert math.isnan(mean_rank_correlation(np.ones((3, 3)), overlap))
