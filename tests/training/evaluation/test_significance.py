import numpy as np
import pytest
from scipy import stats
from small_evaluations import prediction
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from amif.training.evaluation.significance import compare_predictions, holm, image_permutation_p, mcnemar_p


def rows(correct, image_ids):
    return [
        prediction(str(row), image, correct=right)
        for row, (right, image) in enumerate(zip(correct, image_ids, strict=True))
    ]


def two_systems(questions=120, images=40, seed=0):
    generator = np.random.default_rng(seed)
    image_ids = [str(image) for image in generator.integers(images, size=questions)]
    first, second = (generator.random(questions) < share for share in (0.7, 0.6))
    return first, second, image_ids


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (240, 190)])
def test_mcnemar_is_statsmodels_exact_test(wins, losses):
    expected = mcnemar([[7, wins], [losses, 9]], exact=True).pvalue if wins + losses else 1.0
    assert mcnemar_p(wins, losses) == pytest.approx(expected)


def test_image_permutation_is_scipys_over_all_exchanges():
    first, second, image_ids = two_systems(questions=40, images=11)
    difference = first.astype(int) - second
    by_image = np.array([difference[np.array(image_ids) == image].sum() for image in sorted(set(image_ids))])
    expected = stats.permutation_test(
        (by_image, np.zeros_like(by_image)), lambda x, y: (x - y).sum(), permutation_type="samples", n_resamples=np.inf
    )
    assert image_permutation_p(difference, image_ids) == pytest.approx(expected.pvalue)


def test_image_permutation_of_many_images_is_that_of_drawn_signs():
    first, second, image_ids = two_systems(questions=900, images=200, seed=3)
    difference = first.astype(int) - second.astype(int)
    by_image = np.bincount(np.array(image_ids, dtype=int), weights=difference)
    signs = np.random.default_rng(1).choice([-1, 1], size=(40_000, len(by_image)))
    expected = (np.abs(signs @ by_image) >= abs(by_image.sum())).mean()
    assert image_permutation_p(difference, image_ids) == pytest.approx(expected, abs=0.006)


def test_questions_that_move_together_are_weaker_evidence():
    """Ten questions on each of four images, all won by the first system."""
    together = [str(question // 10) for question in range(40)]
    assert image_permutation_p(np.ones(40), together) == pytest.approx(2 / 2**4)
    assert image_permutation_p(np.ones(40), [str(question) for question in range(40)]) == pytest.approx(2 / 2**40)


def test_comparison_counts_and_difference():
    first, second, image_ids = two_systems()
    result = compare_predictions(rows(first, image_ids), rows(second, image_ids)[::-1])
    assert result.difference.value == pytest.approx(100 * (first.mean() - second.mean()))
    assert (result.only_first_right, result.only_second_right) == (
        (first & ~second).sum(),
        (second & ~first).sum(),
    )
    assert result.changed == pytest.approx(100 * (first != second).mean())
    assert result.difference.low < result.difference.value < result.difference.high
    reverse = compare_predictions(rows(second, image_ids), rows(first, image_ids))
    assert reverse.difference.value == pytest.approx(-result.difference.value)
    assert reverse.permutation_p == pytest.approx(result.permutation_p)


def test_a_system_compared_with_itself_is_no_different():
    first, _, image_ids = two_systems()
    result = compare_predictions(rows(first, image_ids), rows(first, image_ids))
    assert (result.difference.value, result.difference.ci95) == (0.0, (0.0, 0.0))
    assert (result.mcnemar_p, result.permutation_p) == (1.0, 1.0)


def test_interval_of_the_difference_is_scipys_paired_one():
    generator = np.random.default_rng(5)
    first, second = generator.random(500) < 0.75, generator.random(500) < 0.6
    image_ids = [str(row) for row in range(500)]
    expected = stats.bootstrap(
        (first.astype(float), second.astype(float)),
        lambda x, y, axis: (x - y).mean(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=5000,
        rng=1,
    ).confidence_interval
    result = compare_predictions(rows(first, image_ids), rows(second, image_ids))
    np.testing.assert_allclose(result.difference.ci95, 100 * np.array(expected), atol=0.4)


def test_other_questions_are_refused_and_named():
    first, second, image_ids = two_systems()
    with pytest.raises(ValueError, match=r"119 rows.*one side only: 0\."):
        compare_predictions(rows(first, image_ids), rows(second, image_ids)[1:])
    with pytest.raises(ValueError, match="nothing to compare"):
        compare_predictions(rows([None], ["a"]), rows([None], ["a"]))


def test_a_false_alarm_is_as_rare_as_the_p_says():
    generator = np.random.default_rng(8)
    image_ids = [str(row // 4) for row in range(200)]
    small = []
    for _ in range(300):
        shared = np.repeat(generator.random(50), 4)  # questions of an image are alike
        first, second = (generator.random(200) < 0.3 + 0.4 * shared for _ in range(2))
        small.append(image_permutation_p(first.astype(int) - second.astype(int), image_ids) <= 0.05)
    assert 0.01 <= np.mean(small) <= 0.08


@pytest.mark.parametrize("p_values", [[0.04], [0.01, 0.04, 0.03], [0.5, 0.001, 0.5, 0.02, 1.0], [0.03] * 3])
def test_holms_correction_is_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
