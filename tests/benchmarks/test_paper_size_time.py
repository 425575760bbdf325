"""What steps of the paper's size take: seconds, operations, share of the machine's matrix rate, peak memory.

    OMP_NUM_THREADS=1 pytest -m slow -n 0 -s tests/benchmarks/test_paper_size_time.py

Weights and candidates are random, and all is float32. Each row runs in a process of its own, so that its peak is its
own, and twice, of which the second is told; the matrix rate is measured before and after. Needs some 16 GiB.
docs/performance.md has the figures.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, CLIPVisionConfig

from amif import AmifConfig, AmifForPreTraining, AmifForVisualQuestionAnswering
from amif.training.losses import matching_labels, matching_loss, transport_loss

pytestmark = pytest.mark.slow

SQUARE, PRODUCTS = 2_048, 3
CANDIDATES, VOCABULARY = 476, 28_996
QUESTION_TOKENS, ANSWER_TOKENS, REPORT_TOKENS, KNOWLEDGE_TOKENS = 20, 6, 120, 600


def config() -> AmifConfig:
    """ViT-B/16 at 288 pixels, ClinicalBERT's shape, six layers of co-attention."""
    return AmifConfig(
        vision_config=CLIPVisionConfig(image_size=288, patch_size=16), text_config=BertConfig(vocab_size=VOCABULARY)
    )


def words(*shape: int) -> torch.Tensor:
    return torch.randint(999, VOCABULARY, shape)


def answers(count: int) -> torch.Tensor:
    ends = torch.tensor([[101], [102]]).expand(2, count).unsqueeze(-1)
    return torch.cat([ends[0], words(count, ANSWER_TOKENS - 2), ends[1]], dim=1)


def trained(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], object]:
    """A whole step of training: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-6, fused=True)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def fine_tuning(images: int) -> Callable[[], object]:
    model = AmifForVisualQuestionAnswering(config()).train()
    model.set_knowledge(words(KNOWLEDGE_TOKENS))
    inputs = {"pixel_values": torch.rand(images, 3, 288, 288), "image_index": torch.arange(8) * images // 8}
    inputs |= {"input_ids": words(8, QUESTION_TOKENS), "labels": answers(8)}
    return trained(model, lambda: model(**inputs).loss)


def stage_two() -> Callable[[], object]:
    """Eight studies of two views, the encoders frozen, each with the next as its negative; teacher cached."""
    model = AmifForPreTraining(config()).train()
    model.model.vision_model.requires_grad_(False)
    model.model.text_model.requires_grad_(False)
    inputs = {"pixel_values": torch.rand(16, 3, 288, 288), "input_ids": words(8, REPORT_TOKENS)}
    inputs["hard_negatives"] = (torch.arange(8).unsqueeze(1) + torch.ones(1, 3, dtype=torch.long)) % 8

    def loss() -> torch.Tensor:
        output = model(**inputs)
        pairs = zip(output.matching_logits, inputs["hard_negatives"].T, strict=True)
        matching = sum(matching_loss(logits, matching_labels(negatives)) for logits, negatives in pairs)
        return transport_loss(output.fused_image_states, output.fused_text_states) + matching

    return trained(model, loss)


def encoding() -> Callable[[], object]:
    model, image, question = AmifForVisualQuestionAnswering(config()).eval(), torch.rand(1, 3, 288, 288), words(1, 20)
    return torch.no_grad()(lambda: model.encode(pixel_values=image, input_ids=question))


def ranking(method: str) -> Callable[[], object]:
    model, image, question = AmifForVisualQuestionAnswering(config()).eval(), torch.rand(1, 3, 288, 288), words(1, 20)
    ends = {"input_ids": answers(CANDIDATES), "attention_mask": torch.ones(CANDIDATES, ANSWER_TOKENS, dtype=torch.long)}
    return lambda: model.rank_answers(image, question, answers=ends, method=method)


ROWS = {
    "fine-tuning step, 8 questions about 8 images": lambda: fine_tuning(8),
    "fine-tuning step, 8 questions about 2 images": lambda: fine_tuning(2),
    "stage-two step, 8 studies of two views, teacher cached": stage_two,
    "one question encoded": encoding,
    "one question, 476 candidates ranked by search": lambda: ranking("search"),
    "one question, 476 candidates ranked exhaustively": lambda: ranking("exhaustive"),
}


def matrix_rate() -> float:
    """FLOP a CPU second of float32 matrix products."""
    left, right = torch.rand(SQUARE, SQUARE), torch.rand(SQUARE, SQUARE)
    torch.mm(left, right)
    start = time.process_time()
    for _ in range(PRODUCTS):
        torch.mm(left, right)
    return PRODUCTS * 2 * SQUARE**3 / (time.process_time() - start)


def measure(name: str, told: multiprocessing.SimpleQueue) -> None:
    torch.manual_seed(0)
    step = ROWS[name]()
    with FlopCounterMode(display=False) as counter:
        step()
    before = matrix_rate()
    start = time.process_time()
    step()
    seconds = time.process_time() - start
    rate = (before + matrix_rate()) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told.put((seconds, counter.get_total_flops(), rate, peak))


@pytest.mark.parametrize("name", ROWS)
def test_time(name):
    told = multiprocessing.get_context("spawn").SimpleQueue()
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(name, told))
    process.start()
    process.join()
    assert process.exitcode == 0
    seconds, flops, rate, peak = told.get()
    share = flops / seconds / rate
    work = f"{seconds:.2f} | {flops / 1e12:.3f} | {100 * share:.0f} % of {rate / 1e9:.0f} GFLOP/s"
    print(f"\n| {name} | {work} | {peak:.1f} GiB |")
    assert share > 0.2
