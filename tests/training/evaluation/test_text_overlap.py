import math
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import f1_score

from amif.training.data.references import acceptable_vqa_med_answers
from amif.training.evaluation.text_overlap import bleu1, token_f1

WORDS = np.array(["left", "lung", "lobe", "right", "upper", "lower"])


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
    assert bleu1("t2 weighted", "flair#t2 weighted", acceptable_vqa_med_answers) == pytest.approx(1.0)
    assert bleu1("", "yes") == bleu1(None, "yes") == bleu1(".", "yes") == 0.0
    assert bleu1("yes", None) is None


def test_of_distinct_words_it_is_scikit_learns_f1():
    generator = np.random.default_rng(0)
    for _ in range(300):
        given, right = (generator.random(6) < 0.5 for _ in range(2))
        if given.any() and right.any():
            result = token_f1(" ".join(WORDS[given]), " ".join(generator.permutation(WORDS[right])))
            assert result == pytest.approx(f1_score(right, given))


def test_a_repeated_word_counts_as_often_as_in_both():
    # 2 words in common; precision 2/3, recall 2/2
    assert token_f1("lung lung lung", "lung lung") == pytest.approx(0.8)


def test_both_sides_are_normalised_and_the_best_alternative_counts():
    assert token_f1("The LEFT lung.", "left lung") == pytest.approx(0.8)
    assert token_f1("t2 weighted", "flair#t2 weighted", acceptable_vqa_med_answers) == 1.0
    assert token_f1(None, "yes") == token_f1(".", "yes") == 0.0
    assert token_f1("yes", None) is None
