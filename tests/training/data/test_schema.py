import math

import pytest
from datasets import concatenate_datasets

from amif.training.data import schema as counts
from amif.training.data.schema import (
    VQA_FEATURES,
    as_answer,
    as_answer_type,
    as_cell,
    as_image_names,
    as_text,
    build_vqa_dataset,
    with_alike_answers,
    written_value,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (0, "0"), (1.5, "1.5"), ("yes ", "yes "), ("", None), ("  ", None), ("\u200b", None), (None, None)],
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


def test_equal_counts_pass_silently(monkeypatch):
    monkeypatch.setattr(counts.logger, "warning", pytest.fail)
    counts.compare_counts("set", {"train": 3, "test": 1}, {"train": 3, "test": 1}, strict=True)
    counts.compare_counts("set", {"train": 3, "extra": 1}, {"train": 3}, strict=False)


def test_differences_are_logged_or_raised(monkeypatch):
    said = []
    monkeypatch.setattr(counts.logger, "warning", said.append)
    found, published = {"train": 2999}, {"train": 3064, "test": 451}
    counts.compare_counts("vqa_rad", found, published, strict=False)
    assert said == ["vqa_rad train: 2999 rows, published 3064", "vqa_rad test: 0 rows, published 451"]
    with pytest.raises(ValueError, match="2999 rows, published 3064; vqa_rad test: 0 rows"):
        counts.compare_counts("vqa_rad", found, published, strict=True)


@pytest.mark.parametrize("cell", [["a.png", "b.png"], '["a.png", "b.png"]', "['a.png', 'b.png']", "a.png | b.png"])
def test_images_of_a_question_are_a_list_or_parted_by_bars(cell):
    assert as_image_names(cell) == ["a.png", "b.png"]
    assert as_image_names("[old] a.png") == ["[old] a.png"]


def test_several_right_answers_are_a_list_and_one_is_itself():
    assert as_answer(["CT", "ct scan", None, "CT"]) == ["CT", "ct scan"]
    assert as_answer('["CT", "ct scan"]') == as_answer("['CT', 'ct scan']") == ["CT", "ct scan"]
    assert as_answer(["CT"]) == as_answer([None, "CT", ""]) == "CT"
    assert as_answer("tooth #14") == "tooth #14"
    assert as_answer('["CT", null]') == "CT"
    for text in ("[120, 45, 200, 90]", "[18F]FDG PET ['late']", "[{[]: 'a'}]", "[" * 9999 + "'a'" + "]" * 9999):
        assert as_answer(text) == text
    with pytest.raises(ValueError, match="is a list without commas"):
        as_answer("['ct' 'ct scan'\n 'cta']")  # as numpy writes one, of which Python would make "ctct scancta"
    for wrong in (["yes", "?"], [["yes"], "no"], ["yes", True], [], [None]):
        with pytest.raises(ValueError, match=r"no word or number|is empty|neither text nor a number"):
            as_answer(wrong)


@pytest.mark.parametrize(
    "text", ['{"A": "lung", "A": "liver"}', "{'A': 'lung', 'A': null}", "{'A': 'lung', 'A': 'liver'}"]
)
def test_a_written_dictionary_with_a_key_twice_is_refused(text):
    with pytest.raises(ValueError, match="has 'A' twice: keep one"):
        written_value(text)
    assert written_value('{"A": "lung", "B": null}') == {"A": "lung", "B": None}
    assert written_value("{see note}") is None


def test_answers_are_lists_in_all_parts_where_they_are_in_one():
    several = build_vqa_dataset([{"question": "q", "answer": ["a", "b"]}, {"answer": "c"}, {"answer": None}])
    plain = build_vqa_dataset([{"question": "r", "answer": "d"}])
    assert several["answer"][:] == [["a", "b"], ["c"], None]
    assert with_alike_answers([plain])[0] is plain
    joined = concatenate_datasets(with_alike_answers([plain, several]))
    assert joined["answer"][:] == [["d"], ["a", "b"], ["c"], None]
    assert joined["question"][:2] == ["r", "q"]
