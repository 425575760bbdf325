import pytest

from amif.training.data.references import acceptable_answers_of
from amif.training.data.schema import build_vqa_dataset
from amif.training.fine_tuning import answer_checks
from amif.training.fine_tuning.answer_checks import check_predictions_differ, check_training_answers, count_unreachable


@pytest.fixture(autouse=True)
def _messages_reach_caplog(monkeypatch):
    monkeypatch.setattr(answer_checks.logger, "propagate", True)
    monkeypatch.setattr(answer_checks.logger.parent, "propagate", True)


def rows(*answers):
    return build_vqa_dataset([{"question": "q", "answer": answer} for answer in answers])


def test_no_answers_at_all():
    with pytest.raises(ValueError, match=r"None of the 2 training rows has an answer.* answer_column"):
        check_training_answers(rows(None, None))


def test_a_single_answer_is_warned_of(caplog):
    check_training_answers(rows("Yes", "yes.", None))
    assert "All training answers are 'yes'" in caplog.text


def test_several_answers_are_not(caplog):
    check_training_answers(rows("yes", "no"))
    assert not caplog.text


def test_answers_that_no_candidate_gives_are_counted(caplog):
    assert count_unreachable(rows("Left lung", "yes", None, "x-ray"), ["yes", "xray"]) == 1
    assert "answers of 1 of 3 questions are not among the 2 candidates" in caplog.text
    assert "'left lung'" in caplog.text


def test_any_alternative_suffices(caplog):
    by_med_rules = acceptable_answers_of("vqa_med_2019")
    assert count_unreachable(rows("ct (iv)#mri"), ["ct"], by_med_rules) == 0
    assert count_unreachable(rows("ct (iv)#mri"), ["ct iv"], by_med_rules) == 0
    assert not caplog.text


def test_one_answer_to_every_question_is_warned_of(caplog):
    check_predictions_differ(["no"] * 3, ["yes", "no", None])
    assert "All 3 questions got the answer 'no'" in caplog.text


@pytest.mark.parametrize("references", [["no", "no"], ["no", None], [None, None]])
def test_one_answer_that_may_be_right_is_not(caplog, references):
    check_predictions_differ(["no", "no"], references)
    assert not caplog.text


def test_answers_that_differ_are_not(caplog):
    check_predictions_differ(["no", "yes"], ["yes", "ct"])
    assert not caplog.text
