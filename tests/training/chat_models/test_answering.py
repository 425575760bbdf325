"""A question's answer depends on no company, survives interruptions, and is one of its own choices."""

import pytest
import torch

from amif.training.chat_models.answering import ChatAnswerer
from amif.training.chat_models.templates import DEFAULT_CHOICES_PROMPT, DEFAULT_PROMPT
from amif.training.data import replace_images
from amif.training.data.vqa_rows import VqaRows

CANDIDATES = ["yes", "no", "left lung", "right lung"]


@pytest.fixture
def answerer(chat_model, chat_model_folder):
    def make(protocol, **options):
        template = DEFAULT_CHOICES_PROMPT if protocol == "choices" else DEFAULT_PROMPT
        candidates = CANDIDATES if protocol == "clean" else None
        return ChatAnswerer(str(chat_model_folder), *chat_model, protocol, template, candidates, **options)

    return make


@pytest.mark.parametrize("protocol", ["generate", "clean", "choices"])
def test_company_changes_no_answer(answerer, questions, tmp_path, protocol):
    alone, scores_alone = answerer(protocol, batch_size=1, max_new_tokens=5).answer_rows(questions, tmp_path / "a")
    texts, scores = answerer(protocol, batch_size=4, max_new_tokens=5).answer_rows(questions, tmp_path / "b")
    assert texts == alone
    if protocol == "generate":
        assert len(set(texts)) > 1
        assert scores == [None] * len(texts)
    else:
        assert scores == pytest.approx(scores_alone, abs=1e-3)


def test_what_is_interrupted_goes_on(answerer, questions, tmp_path, monkeypatch):
    whole = answerer("generate", batch_size=2, max_new_tokens=4).answer_rows(questions, tmp_path / "whole")
    interrupted, done = answerer("generate", batch_size=2, max_new_tokens=4), []

    def answer(batch):
        if done:
            raise KeyboardInterrupt
        done.append(batch["row"].tolist())
        return ChatAnswerer.answer(interrupted, batch)

    monkeypatch.setattr(interrupted, "answer", answer)
    with pytest.raises(KeyboardInterrupt):
        interrupted.answer_rows(questions, tmp_path / "parts")
    again, further = answerer("generate", batch_size=2, max_new_tokens=4), []
    monkeypatch.setattr(again, "answer", lambda batch: further.append(batch) or ChatAnswerer.answer(again, batch))
    assert again.answer_rows(questions, tmp_path / "parts") == whole
    assert [batch["row"].tolist() for batch in further] == [[2, 3], [4]]
    # Of other settings nothing is taken.
    other, all_of_it = answerer("generate", batch_size=2, max_new_tokens=3), []
    monkeypatch.setattr(other, "answer", lambda batch: all_of_it.append(batch) or ChatAnswerer.answer(other, batch))
    other.answer_rows(questions, tmp_path / "parts")
    assert len(all_of_it) == 3


def test_choices_are_compared_by_their_letters_among_the_own(answerer, questions, chat_model, tmp_path):
    texts, scores = answerer("choices", batch_size=5).answer_rows(questions, tmp_path)
    model, processor = chat_model
    asked = answerer("choices")
    rows = VqaRows(questions)
    for place, row in enumerate(questions):
        inputs = asked.prompts([rows[place]])["inputs"]
        shown = processor.tokenizer.decode(inputs["input_ids"][0])
        assert f"{row['question']}\nA. {row['choices'][0]}\nB. {row['choices'][1]}\n" in shown
        with torch.no_grad():
            logits = model(**inputs).logits[0, -1].log_softmax(-1)
        gap = " " if model.config.model_type == "llava" else ""
        letters = processor.tokenizer([f"{gap}{letter}" for letter in "ABCDE"[: len(row["choices"])]])["input_ids"]
        (firsts,) = zip(*letters, strict=True)  # one token each
        own = logits[list(firsts)]
        assert texts[place] == row["choices"][int(own.argmax())]
        assert scores[place] == pytest.approx(float(own.max()), abs=1e-3)


def test_blank_images_change_nothing_but_the_image(answerer, questions):
    prompts = answerer("clean").prompts
    shown, blank = VqaRows(questions), VqaRows(replace_images(questions, "blank"))
    seen = prompts([shown[place] for place in range(3)])["inputs"]
    unseen = prompts([blank[place] for place in range(3)])["inputs"]
    assert seen.keys() == unseen.keys()
    same = [name for name in seen if torch.equal(seen[name], unseen[name])]
    assert set(seen) - set(same) == {"pixel_values"}
    ranker, tokens = answerer("clean")._ranker, prompts.answer_tokens(["left lung"])
    assert (ranker.best(seen, tokens)[1] - ranker.best(unseen, tokens)[1]).abs().min() > 1e-3
