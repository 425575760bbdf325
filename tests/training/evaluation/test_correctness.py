import pytest

from amif.training.data.references import acceptable_answers, acceptable_vqa_med_answers, normal_form
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


def test_any_alternative_of_a_reference_of_vqa_med_is_right():
    reference = "MRI - T2#T2 weighted #"
    assert acceptable_vqa_med_answers(reference) == ["mri-t2", "t2 weighted"]
    assert is_correct("t2 weighted", reference, acceptable_vqa_med_answers)
    assert not is_correct("t2", reference, acceptable_vqa_med_answers)


def test_a_number_sign_parts_nothing_elsewhere():
    assert acceptable_answers("tooth #14") == ["tooth 14"]
    assert is_correct("Tooth #14", "tooth #14")
    assert is_correct("tooth 14", "tooth #14")
    assert not is_correct("tooth", "tooth #14")
    assert not is_correct("14", "tooth #14")


def test_nothing_but_punctuation_has_an_empty_normal_form():
    assert normal_form(" . ") == ""


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("Yes", True), ("no.", True), ("not seen", False), ("yes, left", False), (0, False), (None, None)],
)
def test_closed_by_the_paper_is_exactly_yes_or_no(reference, expected):
    assert is_yes_no(reference) is expected
