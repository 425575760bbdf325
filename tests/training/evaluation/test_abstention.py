import numpy as np
import pytest

from amif.training.evaluation.abstention import abstention, choose_abstention_threshold


def rows(scores, correct):
    return [
        {"image_id": str(row), "prediction": "yes", "score": score, "correct": right}
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
    assert (result["coverage"]["share"], result["error_rate"]["share"]) == (80.0, 25.0)
    assert (result["coverage"]["n"], result["error_rate"]["n"]) == (5, 4)


def test_wanted_error_rate_out_of_reach():
    given = rows([-0.1, -0.2], [False, True])
    assert choose_abstention_threshold(given, 0.4) is None
    assert choose_abstention_threshold(given, 0.5) == -0.2


def test_a_threshold_above_all_withholds_everything():
    result = abstention(rows([-1.0, -2.0], [True, False]), -0.5)
    assert (result["coverage"]["share"], result["error_rate"]) == (0.0, None)


def test_rows_without_score_or_reference_do_not_count():
    given = rows([-0.1, None, -0.2], [True, False, None])
    assert choose_abstention_threshold(given, 0.1) == -0.1
    assert abstention(given, -5.0)["coverage"]["n"] == 1
    assert abstention(rows([None], [True]), -1.0) is None
    with pytest.raises(ValueError, match="score and a reference"):
        choose_abstention_threshold(rows([None], [True]), 0.1)
    with pytest.raises(ValueError, match=r"1\.5.*between 0 and 1"):
        choose_abstention_threshold(given, 1.5)


def test_an_answer_that_the_system_withheld_is_not_given_whatever_its_score():
    given = rows([-0.1, -0.2], [False, True])
    given[0]["prediction"] = None
    assert choose_abstention_threshold(given, 0.0) == -0.2
    result = abstention(given, -0.3)
    assert (result["coverage"]["share"], result["error_rate"]["share"]) == (50.0, 0.0)
