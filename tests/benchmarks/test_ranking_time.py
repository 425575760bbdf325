"""Search against exhaustive ranking of candidates: time, decoder tokens and memory, in runs that alternate.

    pytest -m slow -s tests/benchmarks/test_ranking_time.py

The fine-tuned model is the checkpoint in AMIF_VQA_CHECKPOINT, as `examples/run_vqa.py examples/recipes/vqa_rad.yaml`
leaves one. The decoder of the paper's size is fitted here to fixed random states, AMIF_FIT_SECONDS long (300). The
questions of VQA-RAD's test set are timed only; AMIF_BENCHMARK_QUESTIONS takes the first so many of the 451.
"""

import csv
import os
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer, BertConfig

from amif import AmifConfig, AmifForVisualQuestionAnswering, AmifVqaArguments, AmifVqaTrainer
from amif.modeling_amif.answer_ranking_amif import AnswerScorer, candidate_tokens, rank_exhaustively
from amif.modeling_amif.answer_search_amif import rank_by_search
from amif.modeling_amif.encoders_amif import build_decoder
from amif.modeling_amif.vqa_amif import answer_loss
from amif.training.data import load_vqa_dataset

pytestmark = pytest.mark.slow

JOINT_STATES = 341  # 325 image tokens of 288 pixels and a question of 16
FIT_SECONDS = float(os.environ.get("AMIF_FIT_SECONDS", 300))
QUESTIONS = int(os.environ.get("AMIF_BENCHMARK_QUESTIONS", 451))
MANY = 4_000


@dataclass
class Run:
    """What one ranking took."""

    wall: float
    cpu: float
    tokens: int
    memory: float
    ranking: object


@pytest.fixture(scope="session")
def tokenizer(models_dir):
    return AutoTokenizer.from_pretrained(models_dir / "minilm-l6")


@pytest.fixture(scope="session")
def vqa_rad(data_dir):
    return load_vqa_dataset("vqa_rad", data_dir / "vqa_rad")


@pytest.fixture(scope="session")
def training_answers(vqa_rad):
    """Answers of VQA-RAD's training file as it has them, lower case, the commonest first: 476."""
    answers = [answer.lower().strip() for split in ("train", "validation") for answer in vqa_rad[split]["answer"]]
    return sorted(dict.fromkeys(answers), key=answers.count, reverse=True)


@pytest.fixture(scope="session")
def many_answers(training_answers, data_dir):
    """Those, then real answers of other sets, then clauses of real captions."""
    slake = load_vqa_dataset("slake", data_dir / "slake")
    answers = [*training_answers, *slake["train"]["answer"], *slake["validation"]["answer"]]
    for path in sorted((data_dir / "vqa_med_2019").rglob("*[QA]*.txt")):
        rows = [line.split("|") for line in path.read_text(encoding="utf-8").splitlines()]
        answers += [row[2] for row in rows if len(row) == 3 and "Test" not in str(path)]
    for path in sorted((data_dir / "rocov2_sample").glob("*_captions.csv")):
        with path.open(encoding="utf-8") as file:
            clauses = [clause for row in csv.DictReader(file) for clause in re.split("[,.;(]", row["Caption"])]
        answers += [" ".join(clause.split()[:8]) for clause in clauses]
    distinct = list(dict.fromkeys(answer.lower().strip() for answer in answers if answer and answer.strip()))
    assert len(distinct) >= MANY
    return distinct[:MANY]


@pytest.fixture(scope="session")
def fine_tuned():
    path = os.environ.get("AMIF_VQA_CHECKPOINT")
    if path is None:
        pytest.skip("set AMIF_VQA_CHECKPOINT to a fine-tuned checkpoint")
    return AmifForVisualQuestionAnswering.from_pretrained(path).eval(), AutoProcessor.from_pretrained(path)


@pytest.fixture(scope="session")
def fine_tuned_states(fine_tuned, vqa_rad):
    """The joint states of validation questions, by question, so that encoding is no part of what is timed."""
    model, processor = fine_tuned
    rows = vqa_rad["validation"].select(range(0, len(vqa_rad["validation"]), 60))
    with torch.no_grad():
        inputs = processor(images=list(rows["image"]), text=list(rows["question"]))
        encoded = model.encode(**inputs)
    return model.decoder, encoded.joint_states, encoded.attention_mask


@pytest.fixture(scope="session")
def paper_size_states(tokenizer, training_answers):
    """A decoder of the paper's size, fitted to answer four questions, whose states are random and fixed."""
    torch.manual_seed(0)
    decoder = build_decoder(AmifConfig(text_config=BertConfig(vocab_size=len(tokenizer))))
    states = torch.randn(4, JOINT_STATES, decoder.config.hidden_size)
    answers = ["yes", "no", *training_answers[50:200:100]]
    labels = tokenizer(answers, padding=True, return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-4)
    end, loss, steps = time.monotonic() + FIT_SECONDS, torch.tensor(torch.inf), 0
    while time.monotonic() < end and loss > 0.5:
        loss = answer_loss(decoder(input_ids=labels, encoder_hidden_states=states).logits, labels, 0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        steps += 1
    print(f"\npaper-size decoder fitted in {steps} steps to a loss of {loss.item():.2f} nats an answer")
    return decoder.eval(), states, torch.ones(states.shape[:2])


@pytest.fixture(scope="session", params=["small", "paper"])
def untrained_states(request, tokenizer):
    """A decoder that knows nothing: bounds exclude next to nothing."""
    torch.manual_seed(0)
    small = {"hidden_size": 384, "num_hidden_layers": 3, "intermediate_size": 1536}
    config = BertConfig(vocab_size=len(tokenizer), **(small if request.param == "small" else {}))
    decoder = build_decoder(AmifConfig(text_config=config)).eval()
    states = torch.randn(2, JOINT_STATES, decoder.config.hidden_size)
    return decoder, states, torch.ones(states.shape[:2])


@torch.no_grad()
def run(ranker: Callable, states: tuple, candidates: torch.Tensor, score: str) -> Run:
    """Rank once, the first reading of each question's states included."""
    decoder, joint_states, mask = states
    tokens = []
    count = decoder.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    before, wall, cpu = reset_peak_memory(), time.perf_counter(), time.process_time()
    ranking = ranker(AnswerScorer(decoder, joint_states, mask, 101), candidates, 1, score)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count.remove()
    return Run(wall, cpu, sum(tokens), peak_memory() - before, ranking)


def reset_peak_memory() -> float:
    """Forget the highest memory use so far; the present one, MiB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def compare(states: tuple, answers: list[str], tokenizer, score: str = "sum", rounds: int = 2) -> tuple[float, float]:
    """Rank by both methods in turns; the median ratios of CPU time and of decoder tokens, exhaustive to search."""
    candidates = candidate_tokens(tokenizer(answers, padding=True, return_tensors="pt"))
    pairs = []
    for _ in range(rounds):
        pairs.append([run(rank, states, candidates, score) for rank in (rank_exhaustively, rank_by_search)])
    for exhaustive, search in pairs:
        torch.testing.assert_close(search.ranking.scores, exhaustive.ranking.scores, rtol=0, atol=1e-4)
        assert torch.equal(search.ranking.indices, exhaustive.ranking.indices)
    print()
    for exhaustive, search in pairs:
        print(
            f"{len(answers)} candidates, {len(states[1])} questions, {score}: "
            f"wall {exhaustive.wall:.2f} / {search.wall:.2f} s = {exhaustive.wall / search.wall:.1f}, "
            f"CPU {exhaustive.cpu:.2f} / {search.cpu:.2f} s = {exhaustive.cpu / search.cpu:.1f}, "
            f"tokens {exhaustive.tokens} / {search.tokens} = {exhaustive.tokens / search.tokens:.1f}, "
            f"peak memory {exhaustive.memory:.0f} / {search.memory:.0f} MiB"
        )
    cpu = statistics.median(exhaustive.cpu / search.cpu for exhaustive, search in pairs)
    return cpu, pairs[0][0].tokens / pairs[0][1].tokens


@pytest.mark.parametrize("trained", ["fine_tuned_states", "paper_size_states"])
def test_trained_model(request, trained, training_answers, tokenizer):
    time_ratio, token_ratio = compare(request.getfixturevalue(trained), training_answers, tokenizer)
    assert time_ratio >= 10
    assert token_ratio >= 20


@pytest.mark.parametrize("trained", ["fine_tuned_states", "paper_size_states"])
def test_trained_model_with_many_answers(request, trained, many_answers, tokenizer):
    decoder, states, mask = request.getfixturevalue(trained)
    time_ratio, token_ratio = compare((decoder, states[-1:], mask[-1:]), many_answers, tokenizer, rounds=1)
    assert time_ratio >= 50
    assert token_ratio >= 50


@pytest.mark.parametrize("score", ["sum", "mean"])
def test_untrained_model_is_hardly_slower(untrained_states, training_answers, tokenizer, score):
    assert compare(untrained_states, training_answers, tokenizer, score)[0] > 1 / 1.2


@pytest.mark.parametrize("count", [2, 12, 40])
def test_untrained_model_is_hardly_slower_with_few_answers(untrained_states, training_answers, tokenizer, count):
    assert compare(untrained_states, training_answers[:count], tokenizer, rounds=7)[0] > 1 / 1.2


def test_vqa_rad_image_by_image(benchmark, fine_tuned, vqa_rad, training_answers, tmp_path):
    """All questions of the test set, image by image with search, against one at a time with exhaustive ranking."""
    model, processor = fine_tuned
    dataset = vqa_rad["test"].select(range(QUESTIONS))
    arguments = AmifVqaArguments(
        str(tmp_path), eval_strategy="no", load_best_model_at_end=False, report_to="none", disable_tqdm=True
    )
    trainer = AmifVqaTrainer(model, arguments, processing_class=processor, candidates=training_answers)
    cpu = time.process_time()
    found, _ = benchmark.pedantic(lambda: trainer.predict_answers(dataset), rounds=1)
    search_cpu, search = time.process_time() - cpu, benchmark.stats.stats.total
    answers, start, cpu = processor.encode_answers(training_answers), time.perf_counter(), time.process_time()
    expected = [one_by_one(model, processor, row, answers) for row in dataset]
    exhaustive, exhaustive_cpu = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"\n{QUESTIONS} questions: wall {exhaustive:.1f} / {search:.1f} s, CPU {exhaustive_cpu:.1f} / {search_cpu:.1f}"
    )
    assert found == [training_answers[index] for index in expected]
    assert exhaustive_cpu / search_cpu >= 20


def one_by_one(model, processor, row: dict, answers: dict[str, torch.Tensor]) -> int:
    inputs = processor(images=row["image"], text=row["question"])
    return model.rank_answers(**inputs, answers=answers, method="exhaustive").indices.item()
