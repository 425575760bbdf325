"""Choices that are missing, or not shown, are said."""

import logging

import pytest

from amif.training.chat_models.evaluation import check_choices_of


def test_each_question_needs_choices(questions, monkeypatch, caplog):
    check_choices_of(questions, "choices", "set")
    bare = questions.remove_columns("choices")
    with pytest.raises(ValueError, match="5 of 5 questions of set have no choices, the first of them row 0"):
        check_choices_of(bare, "choices", "set")
    some = questions.map(lambda row: {"choices": row["choices"] if row["question_id"] != "3" else None})
    with pytest.raises(ValueError, match="1 of 5 questions of set have no choices, the first of them row 3"):
        check_choices_of(some, "choices", "set")
    many = questions.map(lambda row: {"choices": ["x"] * 27 if row["question_id"] == "2" else row["choices"]})
    with pytest.raises(ValueError, match=r"set, row 2 .*: 27 choices are more than the 26 letters"):
        check_choices_of(many, "choices", "set")
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    check_choices_of(bare, "generate", "set")
    assert not caplog.text
    check_choices_of(questions, "generate", "set")
    assert "5 of 5 questions of set have choices, which are not shown under --protocol generate" in caplog.text
