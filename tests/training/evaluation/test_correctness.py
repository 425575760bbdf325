import pytest

from amif.training.data.references import acceptable_answers, normal_form
from amif.training.evaluation.correctness import is_correct, is_yes_no


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
