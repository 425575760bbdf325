"""Choices that are missing, or not shown, are said, and a lone labelled file has baselines too."""

import csv
import logging
from types import SimpleNamespace

import pytest
from PIL import Image

from amif.training.chat_models import evaluation
from amif.training.chat_models.arguments import ChatModelArguments
from amif.training.chat_models.evaluation import answer_and_evaluate, check_choices_of
from amif.training.evaluation.baselines import CROSS_FITTED


def test_each_question_needs_choices(questions, monkeypatch, caplog):
    check_choices_of(questions, "choices", "test")
    bare = questions.remove_columns("choices")
    with pytest.raises(ValueError, match="5 of 5 test questions have none, the first of them row 0"):
        check_choices_of(bare, "choices", "test")
    some = questions.map(lambda row: {"choices": row["choices"] if row["question_id"] != "3" else None})
    with pytest.raises(ValueError, match="1 of 5 test questions have none, the first of them row 3"):
        check_choices_of(some, "choices", "test")
    many = questions.map(lambda row: {"choices": ["x"] * 27 if row["question_id"] == "2" else row["choices"]})
    with pytest.raises(ValueError, match=r"test, row 2 .*: 27 choices are more than the 26 letters"):
        check_choices_of(many, "choices", "test")
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    check_choices_of(bare, "generate", "test")
    assert not caplog.text
    check_choices_of(questions, "generate", "test")
    assert "5 of 5 test questions have choices, which are not shown under --protocol generate" in caplog.text


def test_a_lone_labelled_file_has_baselines_that_say_what_they_learn_from(tmp_path, monkeypatch):
    with (tmp_path / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "question", "answer"])
        for row in range(10):
            Image.new("L", (8, 8), 20 * row).save(tmp_path / f"{row}.png")
            writer.writerow([f"{row}.png", "Is it?", "yes"])
    monkeypatch.setattr(evaluation, "check_chat_model", lambda *_: None)
    monkeypatch.setattr(evaluation, "load_chat_model", lambda *_: (None, None))
    answered = SimpleNamespace(answer_rows=lambda dataset, _: (["no"] * len(dataset), [None] * len(dataset)))
    monkeypatch.setattr(evaluation, "ChatAnswerer", lambda *_, **__: answered)
    args = ChatModelArguments(model="m", dataset=str(tmp_path / "test.csv"), max_eval_samples=9)
    rows, metrics, asked = answer_and_evaluate(args)
    assert asked["question_id"][:] == [row.question_id for row in rows]
    assert (len(rows), metrics.scores.overall.value) == (9, 0)
    assert (metrics.baselines["question_only"].value, metrics.baselines["question_only"].n) == (100, 9)
    assert metrics.baselines_note == CROSS_FITTED
