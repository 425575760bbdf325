import json

import pytest
from sklearn.metrics import accuracy_score

from amif.processing_amif.answer_normalization_amif import normalize_answer
from amif.training.data.references import acceptable_answers, normal_form
from amif.training.evaluation.accuracy import VqaAccuracy, is_correct, is_yes_no


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("Yes.", "yes", True),
        ("X-Ray", "x ray", True),
        ("no", "normal", False),
        ("abnormal", "normal", False),
        ("left lung", "lung left", False),
        ("3", 3, True),
        ("yes", None, None),
        ("", "yes", False),
        (".", "?", False),
    ],
)
def test_is_correct_compares_normal_forms(prediction, reference, expected):
    assert is_correct(prediction, reference) is expected


def test_any_alternative_of_a_reference_is_right():
    reference = "MRI - T2#T2 weighted #"
    assert acceptable_answers(reference) == ["mri-t2", "t2 weighted"]
    assert is_correct("t2 weighted", reference)
    assert not is_correct("t2", reference)


def test_nothing_but_punctuation_has_an_empty_normal_form():
    assert normal_form(" . ") == ""


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("Yes", True), ("no.", True), ("not seen", False), ("yes, left", False), (0, False), (None, None)],
)
def test_closed_by_the_paper_is_exactly_yes_or_no(reference, expected):
    assert is_yes_no(reference) is expected


def test_metric_agrees_with_scikit_learn_on_normal_forms(data_dir):
    rows = json.loads((data_dir / "slake" / "validate.json").read_text(encoding="utf-8"))
    references = [row["answer"] for row in rows if row["q_lang"] == "en"]
    predictions = [answer.upper() if index % 3 else "Lung" for index, answer in enumerate(references)]
    expected = accuracy_score(*([normalize_answer(text) for text in side] for side in (references, predictions)))
    result = VqaAccuracy().compute(predictions=predictions, references=references)
    assert result == {"accuracy": pytest.approx(100 * expected), "n": len(references)}
    assert 50 < result["accuracy"] < 100


def test_metric_leaves_questions_without_a_reference_out():
    result = VqaAccuracy().compute(predictions=["yes", "ct", "2"], references=[None, "mri", 2])
    assert result == {"accuracy": 50.0, "n": 2}


def test_metric_without_any_reference_has_no_accuracy():
    assert VqaAccuracy().compute(predictions=["yes", "ct"], references=[None, None]) == {"accuracy": None, "n": 0}


def test_metric_refuses_lists_of_different_lengths():
    with pytest.raises(ValueError, match="Mismatch"):
        VqaAccuracy().compute(predictions=["yes"], references=["yes", "no"])
