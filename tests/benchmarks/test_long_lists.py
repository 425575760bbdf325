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

from amif.modeling_amif.answer_search_amif import _CandidateList, _trie_of
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


def test_trie_of_many_answers():
    chance = random.Random(0)
    words = [[chance.randrange(1000, 20_000) for _ in range(chance.choice([1, 1, 1, 2, 3]))] for _ in range(8_000)]
    answers: dict[tuple[int, ...], None] = {}
    while len(answers) < ANSWERS:
        chosen = (words[int(8_000 * chance.random() ** 2)] for _ in range(chance.randint(1, 6)))
        answers[(*(token for word in chosen for token in word), 102)] = None
    tokens = pad_sequence([torch.tensor(answer) for answer in answers], batch_first=True, padding_value=-1)
    trie = measured(f"trie of {ANSWERS} answers", lambda: _trie_of(_CandidateList(tokens)))
    measured("the same list again", lambda: _trie_of(_CandidateList(tokens.clone())))
    print(f"{len(trie.tokens)} prefixes, {len(trie.step_tokens)} steps")
    assert trie.sizes[0] == len(trie.tokens)


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
