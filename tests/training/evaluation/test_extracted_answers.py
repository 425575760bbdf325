import json
import logging

import pytest
from datasets import DatasetDict
from small_evaluations import prediction, table

from amif.training.data.references import acceptable_vqa_med_answers
from amif.training.evaluation import extracted_answers
from amif.training.evaluation.extracted_answers import (
    Candidates,
    as_answered,
    extract_answers,
    extraction_candidates,
    measure_extraction,
    warn_of_sentences,
)
from amif.training.evaluation.prediction_rows import prediction_rows
from amif.training.evaluation.result_files import to_json

TEST = table(
    ("1", "a", "Is there a fracture?", "no", "closed", None),
    ("2", "a", "Which organ is this?", "Liver", "open", None),
    ("3", "b", "How large is it?", "34 mm", "open", None),
    ("4", "b", "Which organ is this?", None, "open", None),
    ("5", "c", "Which organ is this?", "spleen", "open", None),
)
TRAIN = table(("t", "t", "Which organ is this?", "heart", "open", None))
REPLIES = ["No, no fracture is seen.", "This is the liver.", "It measures 3.4 cm.", "The liver.", None]
CANDIDATES = Candidates({}, frozenset({"liver", "spleen", "no", "34 mm"}), "those")


def test_extracted_answers_stand_beside_strict_ones():
    rows = extract_answers(prediction_rows(TEST, REPLIES), CANDIDATES)
    assert [row.extracted for row in rows] == ["no", "liver", "3.4 cm", "liver", None]
    assert [row.extracted_correct for row in rows] == [True, True, True, None, False]
    assert [row.correct for row in rows] == [False, False, False, None, False]
    written = json.loads(to_json(rows[1]))
    assert (written["prediction"], written["correct"]) == ("This is the liver.", False)
    assert (written["extracted"], written["extracted_correct"]) == ("liver", True)
    assert [row.correct for row in as_answered(rows)] == [True, True, True, None, False]
    strict = prediction_rows(TEST, REPLIES)
    assert as_answered(strict) == strict
    result = measure_extraction(rows, CANDIDATES)
    assert result.scores.overall.value == 75
    assert result.not_extracted == [], "a withheld answer is no sentence"


def test_no_reply_is_read_beside_its_own_reference():
    """Another reference changes what is right, and never what is taken out."""
    other = TEST.remove_columns("answer").add_column("answer", ["yes", "spleen", "3.4", "heart", "liver"])
    first, second = (extract_answers(prediction_rows(rows, REPLIES), CANDIDATES) for rows in (TEST, other))
    assert [row.extracted for row in first] == [row.extracted for row in second]
    assert [row.extracted_correct for row in second] == [False, False, False, False, False]


def test_replies_without_an_answer_count_as_wrong_and_are_named(caplog):
    rows = extract_answers(prediction_rows(TEST, ["It is unclear.", *REPLIES[1:]]), CANDIDATES)
    with caplog.at_level(logging.WARNING, extracted_answers.__name__):
        result = measure_extraction(rows, CANDIDATES)
    assert result.not_extracted == ["1"]
    assert result.scores.overall.value == 50
    assert "1 of 5 replies give no answer and count as wrong" in caplog.text
    assert "\n  1: It is unclear." in caplog.text


def test_candidates_are_the_choices_else_the_protocols_else_those_of_the_split():
    splits = DatasetDict({"train": TRAIN, "test": TEST})
    clean = extraction_candidates(splits, "test", "clean")
    assert (clean.others, clean.source) == ({"heart"}, "the 1 candidates of the protocol clean")
    distinct = {"no", "liver", "34 mm", "spleen"}
    assert extraction_candidates(splits, "test", "paper").others == distinct
    for protocol in ("unstated", "generate"):
        given = extraction_candidates(splits, "test", protocol)
        assert (given.others, given.source) == (distinct, "the 4 distinct answers of the evaluated split")
    own = [["yes", "no"], None, None, None, ["Liver", "Spleen"]]
    chosen = extraction_candidates(DatasetDict({"test": TEST.add_column("choices", own)}), "test", "unstated")
    assert chosen.choices == {"1": ["yes", "no"], "5": ["Liver", "Spleen"]}
    assert chosen.source == "the choices of 2 of 5 questions, and for the others " + given.source
    (row,) = extract_answers([prediction("5", answer="spleen", prediction="B", correct=False)], chosen)
    assert (row.extracted, row.extracted_correct) == ("Spleen", True)


def test_any_alternative_of_a_reference_is_right():
    rows = [prediction(answer="ct#cta (contrast)", prediction="This is a CTA.", correct=False)]
    (row,) = extract_answers(rows, Candidates({}, {"cta"}, "those"), acceptable_vqa_med_answers)
    assert row.extracted_correct is True


@pytest.mark.parametrize(
    ("replies", "warned"),
    [(REPLIES, "3 of 5"), (["no", "liver", "34 mm", "spleen", "liver"], None), (["It is."] * 5, None)],
)
def test_sentences_are_said_where_exact_match_reads_them(caplog, replies, warned):
    with caplog.at_level(logging.WARNING, extracted_answers.__name__):
        warn_of_sentences(prediction_rows(TEST, replies), "p.csv")
    assert bool(caplog.text) is (warned is not None)
    if warned:
        assert f"p.csv: {warned} answers are sentences" in caplog.text
        assert "--extract true" in caplog.text


def test_references_that_are_sentences_are_no_reason_to_extract(caplog):
    rows = [prediction(answer="The liver is enlarged.", prediction="The liver is normal.", correct=False)]
    with caplog.at_level(logging.WARNING, extracted_answers.__name__):
        warn_of_sentences(rows, "p.csv")
    assert not caplog.text
