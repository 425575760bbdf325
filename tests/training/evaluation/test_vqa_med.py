import pytest

from amif.training.data.references import acceptable_answers
from amif.training.evaluation.accuracy import is_correct
from amif.training.evaluation.vqa_med import (
    acceptable_answers_of,
    acceptable_vqa_med_answers,
    answer_alternatives,
    strict_match,
    task_bleu,
)


@pytest.mark.parametrize(
    ("reference", "alternatives"),
    [
        ("axial", ["axial"]),
        ("cta - ct angiography#cta", ["cta - ct angiography", "cta"]),
        ("ct w/contrast (iv)", ["ct w/contrast iv", "ct w/contrast"]),
        ("cerebral (l mca) infarct", ["cerebral l mca infarct", "cerebral infarct"]),
        ("a (b) c (d)", ["a b c d", "a b c", "a c d", "a c"]),
        ("pe (acute)#(pulmonary) embolism", ["pe acute", "pe", "pulmonary embolism", "embolism"]),
        ("mri#", ["mri"]),
        ("(stroke)", ["stroke"]),
    ],
)
def test_alternatives_and_optional_parts(reference, alternatives):
    assert answer_alternatives(reference) == alternatives


def test_the_rule_belongs_to_this_data_set_alone():
    assert acceptable_answers_of("vqa_med_2019") is acceptable_vqa_med_answers
    assert acceptable_answers_of("vqa_rad") is acceptable_answers
    assert is_correct("ct w/contrast", "CT w/contrast (IV)", acceptable_answers_of("vqa_med_2019"))
    assert not is_correct("ct w/contrast", "CT w/contrast (IV)", acceptable_answers_of("vqa_rad"))
    assert acceptable_vqa_med_answers(None) == []


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("CT w/contrast (IV)", "ct w/contrast (iv)", True),
        ("ct w/contrast", "ct w/contrast (iv)", True),
        ("ct", "ct w/contrast (iv)", False),
        ("ct angiography", "cta#ct angiography", True),
        ("cta ct angiography", "cta#ct angiography", False),
        ("x-ray", "xray", True),
        ("x ray", "xray", False),
        (None, "none", False),
        ("yes", None, None),
    ],
)
def test_strict_match(prediction, reference, right):
    assert strict_match(prediction, reference) is right


def test_bleu_of_hand_worked_answers():
    assert task_bleu("Axial.", "axial") == pytest.approx(1.0)
    assert task_bleu("sagittal", "axial") == 0.0
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples are right, no quadruple is: without smoothing nothing is left.
    assert task_bleu("mr t2 weighted brain", "mr t2 weighted spine") == 0.0
    # 4 words, 3 pairs, 2 triples, 1 quadruple of 5, 4, 3, 2: geometric mean of 4/5, 3/4, 2/3, 1/2
    assert task_bleu("a b c d x", "a b c d e") == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert task_bleu("ct w/contrast", "ct w/contrast (iv)#us") == pytest.approx(1.0)
    assert task_bleu(None, "axial") == 0.0
    assert task_bleu("axial", None) is None
