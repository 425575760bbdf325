import numpy as np
import pytest
from scipy import stats

from amif.training.evaluation.bootstrap import bootstrap_ci95


def naive_interval(correct, image_ids, draws, seed):
    """Draw images one by one, as the definition says."""
    generator = np.random.default_rng(seed)
    images = sorted(set(image_ids))
    of_image = {image: correct[np.array([other == image for other in image_ids])] for image in images}
    accuracies = []
    for _ in range(draws):
        drawn = np.concatenate([of_image[images[index]] for index in generator.integers(len(images), size=len(images))])
        accuracies.append(100 * drawn.mean())
    return np.percentile(accuracies, [2.5, 97.5])


def test_unequal_images_give_the_interval_of_a_naive_loop():
    generator = np.random.default_rng(1)
    image_ids = [f"image {image}" for image in range(60) for _ in range(1 + image % 7)]
    correct = generator.random(len(image_ids)) < 0.7
    expected = naive_interval(correct, image_ids, draws=20_000, seed=2)
    np.testing.assert_allclose(bootstrap_ci95(correct, image_ids, draws=20_000), expected, atol=0.4)


def test_one_question_an_image_gives_scipys_percentile_interval():
    correct = np.random.default_rng(3).random(400) < 0.8
    result = stats.bootstrap((correct.astype(float),), np.mean, method="percentile", n_resamples=10_000, rng=4)
    expected = 100 * np.array(result.confidence_interval)
    np.testing.assert_allclose(bootstrap_ci95(correct, [str(i) for i in range(400)]), expected, atol=0.3)


def test_questions_of_an_image_that_agree_widen_the_interval():
    by_image = np.random.default_rng(5).random(400) < 0.6
    correct = np.repeat(by_image, 10)
    image_ids = [str(index // 10) for index in range(4000)]
    clustered = np.diff(bootstrap_ci95(correct, image_ids))
    independent = np.diff(bootstrap_ci95(correct, [str(index) for index in range(4000)]))
    assert clustered / independent == pytest.approx(np.sqrt(10), rel=0.05)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(6)
    image_ids = [str(index // 5) for index in range(500)]
    covered = []
    for trial in range(200):
        probabilities = np.repeat(generator.beta(3, 1, size=100), 5)  # expectation 0.75, alike within an image
        low, high = bootstrap_ci95(generator.random(500) < probabilities, image_ids, draws=1000, seed=trial)
        covered.append(low <= 75 <= high)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_order_of_questions_and_names_of_images_do_not_matter():
    generator = np.random.default_rng(7)
    correct = generator.random(90) < 0.5
    image_ids = np.array([f"a{index // 4}" for index in range(90)])
    order = generator.permutation(90)
    renamed = [image.replace("a", "z") for image in image_ids[order]]
    assert bootstrap_ci95(correct, list(image_ids)) == bootstrap_ci95(correct[order], renamed)


def test_all_right_leaves_no_doubt():
    assert bootstrap_ci95(np.ones(4), ["a", "a", "b", "c"]) == (100.0, 100.0)


@pytest.mark.parametrize(("correct", "image_ids"), [([], []), ([1, 0], ["a"]), ([[1, 0]], ["a"])])
def test_input_without_an_image_a_question_is_refused(correct, image_ids):
    with pytest.raises(ValueError, match="image id"):
        bootstrap_ci95(np.array(correct), image_ids)
