"""Likelihoods are those of reading each candidate alone with its whole prompt, whatever is shared to be fast."""

import functools
import logging

import pytest
import torch

from amif.training.chat_models.likelihood import CandidateRanker
from amif.training.chat_models.prompts import Prompts
from amif.training.data.vqa_rows import VqaRows

CANDIDATES = ["yes", "no", "left lung", "left", "right lung", "no mass in the lung"]
ENDS = [1, 7]


@pytest.fixture(scope="module")
def prompts(chat_model):
    return Prompts(chat_model[1], "{question} Answer with a word.")


@pytest.fixture(scope="module")
def inputs(prompts, questions):
    rows = VqaRows(questions)
    return prompts([rows[place] for place in range(4)])["inputs"]


@pytest.fixture(scope="module")
def alone(chat_model, prompts, questions):
    """Scores (4, 6) by the definition: one text of prompt and answer, one forward, no padding and no cache."""
    model, processor = chat_model
    rows = VqaRows(questions)
    scores = torch.zeros(4, len(CANDIDATES))
    for place in range(4):
        shown = prompts([rows[place]])["inputs"]
        length = shown["input_ids"].shape[1]
        for column, candidate in enumerate(CANDIDATES):
            written = f" {candidate}" if model.config.model_type == "llava" else candidate
            answer = processor.tokenizer(written, return_tensors="pt")["input_ids"]
            longer = {"input_ids": torch.cat([shown["input_ids"], answer], 1)}
            longer["attention_mask"] = torch.ones_like(longer["input_ids"])
            if "mm_token_type_ids" in shown:
                kinds = shown["mm_token_type_ids"]
                longer["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(answer)], 1)
            with torch.no_grad():
                logits = model(**{**shown, **longer}).logits[0].log_softmax(-1)
            for step, token in enumerate(answer[0].tolist()):
                scores[place, column] += logits[length - 1 + step, token]
            scores[place, column] += logits[-1, ENDS].exp().sum().log()
    return scores


def test_a_score_is_that_of_the_candidate_read_alone(chat_model, prompts, inputs, alone):
    ranker = CandidateRanker(chat_model[0], ENDS)
    for column, tokens in enumerate(prompts.answer_tokens(CANDIDATES)):
        torch.testing.assert_close(ranker.best(inputs, [tokens])[1], alone[:, column], rtol=0, atol=1e-3)
    assert ranker._goes_on, "prompts are read once"


def test_the_best_is_the_likeliest_of_all(chat_model, prompts, inputs, alone):
    """Candidates that cannot win any more are not read, which may change nothing."""
    places, scores = CandidateRanker(chat_model[0], ENDS).best(inputs, prompts.answer_tokens(CANDIDATES))
    assert places.tolist() == alone.argmax(1).tolist()
    torch.testing.assert_close(scores, alone.amax(1), rtol=0, atol=1e-3)
    allowed = torch.arange(len(CANDIDATES)) != places[:, None]
    second, _ = CandidateRanker(chat_model[0], ENDS).best(inputs, prompts.answer_tokens(CANDIDATES), allowed)
    assert second.tolist() == alone.topk(2).indices[:, 1].tolist()


def test_a_model_that_cannot_go_on_from_a_prompt_reads_it_again(
    chat_model, prompts, inputs, alone, monkeypatch, caplog
):
    model, forward = chat_model[0], chat_model[0].forward

    @functools.wraps(forward)
    def forgetful(**options):
        output = forward(**options)
        if options.get("cache") is not None:
            output.logits = output.logits.flip(-1)
        return output

    monkeypatch.setattr(model, "forward", forgetful)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    ranker = CandidateRanker(model, ENDS)
    _, scores = ranker.best(inputs, prompts.answer_tokens(CANDIDATES))
    torch.testing.assert_close(scores, alone.amax(1), rtol=0, atol=1e-3)
    assert caplog.text.count("does not go on from the keys and values of a prompt") == 1
