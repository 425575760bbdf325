import math

import pytest

from amif.training.data.schema import VQA_FEATURES, as_answer_type, as_cell, as_text, build_vqa_dataset


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (0, "0"), (1.5, "1.5"), ("yes ", "yes "), ("", None), ("  ", None), (None, None)]
)
def test_as_text(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(3.0, "3"), (-2.0, "-2"), (1.5, "1.5"), (math.nan, None), (7, "7")])
def test_whole_numbers_of_a_column_with_gaps_keep_no_point(value, text):
    assert as_cell(value) == text


@pytest.mark.parametrize(("value", "answer_type"), [("CLOSED ", "closed"), ("OPEN", "open"), ("", None), (None, None)])
def test_as_answer_type(value, answer_type):
    assert as_answer_type(value) == answer_type


def test_a_word_that_is_no_answer_type_is_refused():
    with pytest.raises(ValueError, match="'PRES'"):
        as_answer_type("PRES")


def test_missing_columns_are_none_and_extra_ones_stay_behind():
    dataset = build_vqa_dataset([{"question": "q", "organ": "LUNG"}, {"question": "r"}], ["organ"])
    assert dataset.column_names == [*VQA_FEATURES, "organ"]
    assert dataset["organ"] == ["LUNG", None]
    assert dataset["answer"] == [None, None]
