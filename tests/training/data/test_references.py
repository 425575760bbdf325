import pytest

from amif.training.data.readers.vqa_med_2019 import load_vqa_med_2019
from amif.training.data.references import (
    acceptable_answers,
    acceptable_answers_of,
    acceptable_vqa_med_answers,
    answer_alternatives,
    joined_answers,
    normal_form,
)
from amif.training.evaluation.correctness import is_correct


@pytest.mark.parametrize(
    ("reference", "right"),
    [
        ("Yes", ["yes"]),
        ("tooth #14", ["tooth 14"]),
        ("ct (iv)#ct", ["ct iv ct"]),
        ("(avm)", ["avm"]),
        (3.0, ["3"]),
        ("...", []),
        ("", []),
        (None, []),
    ],
)
def test_a_reference_is_one_answer(reference, right):
    assert acceptable_answers(reference) == right


def test_what_is_learned_scores_as_right(data_dir):
    splits = load_vqa_med_2019(data_dir / "vqa_med_2019")
    for answer in {*splits["train"]["answer"], *splits["validation"]["answer"]}:
        assert normal_form(answer) in acceptable_vqa_med_answers(answer), answer


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
    for year in (2020, 2021):  # whose test files are of one form
        assert acceptable_answers_of(f"vqa_med_{year}")("Mass|nodule") == ["mass", "nodule"]
    assert is_correct("ct w/contrast", "CT w/contrast (IV)", acceptable_answers_of("vqa_med_2019"))
    assert not is_correct("ct w/contrast", "CT w/contrast (IV)", acceptable_answers_of("vqa_rad"))
    assert acceptable_vqa_med_answers(None) == []


def test_a_set_of_answers_is_one_text_in_one_order():
    assert joined_answers(["Mass.", "effusion", "MASS"]) == "effusion | mass"
    assert joined_answers("mass|effusion") == normal_form("effusion | mass") == "effusion | mass"
    assert joined_answers("tooth #14") == "tooth 14"
    assert joined_answers([]) == joined_answers("|") == ""


def test_any_of_several_answers_is_right_and_the_first_is_learned():
    assert acceptable_answers(["Computed tomography", "CT", "ct"]) == ["computed tomography", "ct"]
    assert normal_form(["CT", "mri"]) == "ct"
