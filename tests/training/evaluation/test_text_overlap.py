import math
from collections import Counter

import numpy as np
import pytest

from amif.training.evaluation.bleu import bleu1

WORDS = ["left", "lung", "lobe", "right", "upper"]


def by_definition(prediction, reference):
    """Clipped unigram precision times the brevity penalty."""
    given, right = prediction.split(), reference.split()
    clipped = sum(min(count, right.count(word)) for word, count in Counter(given).items())
    penalty = 1.0 if len(given) >= len(right) else math.exp(1 - len(right) / len(given))
    return penalty * clipped / len(given)


def test_bleu1_is_the_clipped_precision_with_brevity_penalty():
    generator = np.random.default_rng(0)
    for _ in range(300):
        prediction, reference = (" ".join(generator.choice(WORDS, generator.integers(1, 8))) for _ in range(2))
        assert bleu1(prediction, reference) == pytest.approx(by_definition(prediction, reference))


def test_hand_worked_answers():
    assert bleu1("lung lung lung lung", "left lung") == pytest.approx(0.25)
    assert bleu1("lung", "left lung") == pytest.approx(math.exp(-1))
    assert bleu1("Left lung.", "left lung") == pytest.approx(1.0)


def test_best_alternative_counts_and_nothing_is_worth_nothing():
    assert bleu1("t2 weighted", "flair#t2 weighted") == pytest.approx(1.0)
    assert bleu1("", "yes") == bleu1(None, "yes") == bleu1(".", "yes") == 0.0
    assert bleu1("yes", None) is None
