"""Long lists of candidates and long tables: CPU seconds and the memory that they add.

    pytest -m slow -s tests/benchmarks/test_long_lists.py

Answers are made of words of random tokens, the commoner ones more often, as real answers share their beginnings.
AMIF_BENCHMARK_ROWS is the number of rows of the tables (20,000), which show 100 images.
"""

import csv
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Images
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertLMHeadModel

from amif.modeling_amif.answer_ranking_amif import AnswerScorer
from amif.modeling_amif.answer_search_amif import _CandidateList, _trie_of, rank_by_search
from amif.training.data import load_vqa_dataset

pytestmark = pytest.mark.slow

ANSWERS = 100_000
ROWS = int(os.environ.get("AMIF_BENCHMARK_ROWS", 20_000))


def measured(name: str, work: Callable[[], Any]) -> Any:
    """The result of `work`, whose CPU seconds and highest added memory are printed (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    before, cpu = _memory(), time.process_time()
    result = work()
    print(f"\n{name}: {time.process_time() - cpu:.2f} s of CPU, {_memory() - before:.0f} MiB")
    return result


def _memory() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def many_answers() -> torch.Tensor:
    """Tokens of different answers after [CLS], each with [SEP] at its end, then -1."""
    chance = random.Random(0)
    words = [[chance.randrange(1000, 20_000) for _ in range(chance.choice([1, 1, 1, 2, 3]))] for _ in range(8_000)]
    answers: dict[tuple[int, ...], None] = {}
    while len(answers) < ANSWERS:
        chosen = (words[int(8_000 * chance.random() ** 2)] for _ in range(chance.randint(1, 6)))
        answers[(*(token for word in chosen for token in word), 102)] = None
    return pad_sequence([torch.tensor(answer) for answer in answers], batch_first=True, padding_value=-1)


def test_trie_of_many_answers():
    tokens = many_answers()
    trie = measured(f"trie of {ANSWERS} answers", lambda: _trie_of(_CandidateList(tokens)))
    measured("the same list again", lambda: _trie_of(_CandidateList(tokens.clone())))
    print(f"{len(trie.tokens)} prefixes, {len(trie.step_tokens)} steps")
    assert trie.sizes[0] == len(trie.tokens)


def decoder_of(answers: torch.Tensor) -> BertLMHeadModel:
    """A decoder of two layers, 128 wide, that has learned to give the answers, each about as often as the others."""
    torch.manual_seed(0)
    width = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "num_hidden_layers": 2}
    decoder = BertLMHeadModel(BertConfig(vocab_size=20_000, is_decoder=True, add_cross_attention=True, **width))
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    inputs = torch.cat([torch.full((len(answers), 1), 101), answers], dim=1)
    for _ in range(60 if len(answers) else 0):
        states = torch.randn(len(answers), 60, 128)
        labels = inputs.masked_fill(inputs < 0, -100)
        decoder(input_ids=inputs.clamp(min=0), encoder_hidden_states=states, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return decoder.eval()


@pytest.mark.parametrize("learned", [True, False])
def test_ranking_many_answers_for_one_question(learned):
    """Where a model is sure of few answers, and where it has learned nothing and must read nearly all of them."""
    tokens = many_answers()
    decoder = decoder_of(tokens[:: ANSWERS // 32]) if learned else decoder_of(tokens[:0])
    _trie_of(_CandidateList(tokens))
    with torch.no_grad():
        scorer = AnswerScorer(decoder, torch.randn(1, 60, 128), torch.ones(1, 60), 101)
        name = f"best 5 of {ANSWERS} answers to one question, {'learned' if learned else 'nothing learned'}"
        found = measured(name, lambda: rank_by_search(scorer, tokens, 5, "sum"))
    assert found.indices.shape == (1, 5)


@pytest.mark.parametrize("repeated", [False, True])
def test_reading_a_table(tmp_path, repeated):
    for number in range(100):
        Images.new("L", (64, 64), number).save(tmp_path / f"{number}.png")
    with (tmp_path / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "question", "answer"])
        for row in range(ROWS):
            question = "Is there a mass?" if repeated else f"Is there a mass in region {row}?"
            writer.writerow([f"{0 if repeated else row % 100}.png", question, "no" if row % 2 else "yes"])
    name = f"{ROWS} rows {'of one question' if repeated else 'of different questions'}"
    splits = measured(name, lambda: load_vqa_dataset(tmp_path / "train.csv"))
    assert sum(map(len, splits.values())) == ROWS
