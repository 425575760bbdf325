"""The arithmetic over seeds, against cases worked by hand and scipy's own t-interval."""

import pytest
from scipy import stats
from small_evaluations import answers

from amif.training.experiments.seeds import SeedMean, mean_over_seeds, paired_difference, pool_seeds


def test_mean_and_interval_are_scipys():
    values = {1: 70.0, 2: 72.0, 3: 77.0}
    low, high = stats.ttest_1samp(list(values.values()), 0).confidence_interval()
    assert mean_over_seeds(values) == SeedMean(values, 73.0, pytest.approx((low, high)))
    assert mean_over_seeds({5: 4.0}) == SeedMean({5: 4.0}, 4.0, None), "one seed says nothing of the next"
    assert mean_over_seeds({}) == SeedMean({}, None, None)


def test_pooled_questions_are_apart_by_seed_and_their_images_are_not():
    pooled = pool_seeds({1: answers([1, 0, 0]), 2: answers([1, 1, 0])})
    assert len({row.question_id for row in pooled}) == 6
    assert [row.image_id for row in pooled] == ["i0", "i0", "i1"] * 2
    assert [row.correct for row in pooled] == [True, False, False, True, True, False]


def test_differences_are_of_the_seeds_that_both_rows_have():
    row = {1: answers([1, 1, 1, 0]), 2: answers([1, 1, 0, 0]), 3: answers([1, 1, 1, 1])}
    base = {1: answers([1, 0, 0, 0]), 2: answers([1, 1, 0, 0])}
    difference = paired_difference(row, base)
    assert difference.by_seed == {1: 50.0, 2: 0.0}
    assert difference.mean == 25.0
    assert difference.images.difference.value == 25.0
    assert difference.images.difference.n == 8
    # By hand: seed 1 gains one answer on either image, seed 2 none; all four exchanges of two images give sums
    # 2, 0, 0 and -2, of which two are as far from zero as the observed 2.
    assert difference.images.permutation_p == pytest.approx(0.5)
    assert paired_difference({3: row[3]}, base) is None
