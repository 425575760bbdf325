import math

import numpy as np
import pytest

from amif.training.evaluation.localization import (
    Localization,
    localization,
    mean_localization,
    mean_rank_correlation,
    overlap_of_visible,
    patches_in_box,
    phrase_positions,
)


@pytest.mark.parametrize("seed", range(20))
def test_patches_in_box_are_those_with_a_pixel_of_it(seed):
    generator = np.random.default_rng(seed)
    x0, y0 = generator.integers(0, 40, 2)
    x1, y1 = x0 + generator.integers(1, 20), y0 + generator.integers(1, 20)
    image = np.zeros((60, 60), dtype=bool)
    image[y0:y1, x0:x1] = True
    expected = [image[r * 10 : r * 10 + 10, c * 10 : c * 10 + 10].any() for r in range(6) for c in range(6)]
    assert patches_in_box((x0, y0, x1, y1), (60, 60), grid=6).tolist() == expected


def test_images_that_are_no_square_are_squeezed_into_the_grid():
    inside = patches_in_box((50, 0, 100, 10), image_size=(100, 40), grid=2)
    assert inside.reshape(2, 2).tolist() == [[False, True], [False, False]]


def test_boxes_outside_are_refused():
    with pytest.raises(ValueError, match="no area inside an image of 60 x 60"):
        patches_in_box((50, 50, 70, 55), (60, 60), grid=6)
    with pytest.raises(ValueError, match="no area"):
        patches_in_box((5, 5, 5, 9), (60, 60), grid=6)


def test_every_occurrence_of_a_phrase_is_found():
    assert phrase_positions([1, 7, 8, 2, 7, 8, 7], [7, 8]) == [1, 2, 4, 5]
    assert phrase_positions([1, 7], [7, 8]) == []
    assert phrase_positions([5, 5, 5], [5, 5]) == [0, 1, 2]


def test_localization_by_hand():
    plan = np.array([[0.2, 0.0, 0.0], [0.1, 0.1, 0.0], [0.0, 0.2, 0.1], [0.0, 0.0, 0.3]])
    upper = np.array([True, True, False, False])
    figures = localization(plan[:, :2].sum(axis=1), upper)
    assert figures == Localization(mass=pytest.approx(0.4 / 0.6), chance=0.5, hit=1.0)
    assert localization(plan[:, 2], upper).mass == 0
    uniform = localization(np.full(4, 1 / 12), np.array([True, False, False, False]))
    assert uniform.mass == pytest.approx(uniform.chance)


def test_mean_localization():
    found = [Localization(0.2, 1.0, 0.5), Localization(0.4, 0.0, 0.25)]
    assert mean_localization(found) == Localization(pytest.approx(0.3), 0.5, 0.375)
    assert math.isnan(mean_localization([]).mass)


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
    assert math.isnan(mean_rank_correlation(np.ones((1, 1)), np.ones((1, 1))))
