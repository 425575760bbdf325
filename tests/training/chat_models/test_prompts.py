"""Options have letters, and answers are the tokens that a model would write behind them."""

import logging

import pytest
from small_chat_models import save_chat_model

from amif.training.chat_models.answering import ChatAnswerer
from amif.training.chat_models.loading import load_chat_model
from amif.training.chat_models.prompts import Prompts, lettered
from amif.training.data.vqa_rows import VqaRows


def test_options_have_letters():
    assert lettered(["yes", "no"]) == "A. yes\nB. no"
    with pytest.raises(ValueError, match="27 choices are more than the 26 letters"):
        lettered(["x"] * 27)


def test_an_answer_stands_as_the_template_writes_it(chat_model, questions):
    """The tokens of prompt and answer are those of the whole conversation."""
    processor = chat_model[1]
    prompts = Prompts(processor, "{question}")
    for answer, tokens in zip(["left lung", "no"], prompts.answer_tokens(["left lung", "no"]), strict=True):
        turns = [("user", "is there a mass?"), ("assistant", answer)]
        said = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
        whole = processor.tokenizer(processor.apply_chat_template(said))["input_ids"]
        asked = processor.tokenizer(processor.apply_chat_template(said[:1], add_generation_prompt=True))["input_ids"]
        assert whole[: len(asked) + len(tokens)] == asked + tokens


def test_without_a_chat_template_the_prompt_stands_behind_the_image(tmp_path, questions, monkeypatch, caplog):
    folder = str(save_chat_model(tmp_path, "llava", template=False))
    model, processor = load_chat_model(folder)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    answerer = ChatAnswerer(folder, model, processor, "clean", "{question} Answer:", ["left lung"])
    assert "has no chat template" in caplog.text
    inputs = answerer.prompts([VqaRows(questions)[0]])["inputs"]
    shown = processor.tokenizer.decode(inputs["input_ids"][0])
    assert shown == "<image>" * 4 + "is there a mass? Answer:"
    whole = processor.tokenizer(f"{shown} left lung")["input_ids"]
    assert inputs["input_ids"][0].tolist() + answerer.prompts.answer_tokens(["left lung"])[0] == whole
