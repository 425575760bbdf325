"""What share of the machine's matrix rate a fine-tuning step of a small model reaches, both measured in one run.

Weights are random and image states given, as where the vision encoder is frozen; neither changes the amount of work.
`-s` prints where the time goes.
"""

import time

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, Dinov2Config

from amif import AmifConfig, AmifForVisualQuestionAnswering

pytestmark = pytest.mark.slow

QUESTIONS, IMAGES, IMAGE_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS, KNOWLEDGE_TOKENS = 64, 32, 37, 16, 6, 600
VOCABULARY, STEPS, SQUARE = 30_522, 10, 1024


@pytest.fixture(scope="module")
def model():
    """The model of the recipes for real data: DINOv2-small, MiniLM's six layers, three decoder layers."""
    torch.manual_seed(0)
    width = {"hidden_size": 384, "intermediate_size": 1_536, "vocab_size": VOCABULARY, "num_attention_heads": 12}
    config = AmifConfig(
        vision_config=Dinov2Config(hidden_size=384, num_attention_heads=6, num_hidden_layers=1),
        text_config=BertConfig(num_hidden_layers=6, **width),
        decoder_config=BertConfig(num_hidden_layers=3, **width),
        num_co_attention_layers=2,
        num_attention_heads=6,
        hidden_size=384,
        intermediate_size=1_536,
        attention_probs_dropout_prob=0.0,
    )
    model = AmifForVisualQuestionAnswering(config).train()
    model.model.vision_model.requires_grad_(False)
    model.set_knowledge(torch.randint(1_000, VOCABULARY, (KNOWLEDGE_TOKENS,)))
    return model


def matrix_rate() -> float:
    """FLOP/s of float32 matrix products."""
    left, right = torch.rand(SQUARE, SQUARE), torch.rand(SQUARE, SQUARE)
    left @ right
    start = time.perf_counter()
    for _ in range(STEPS):
        left @ right
    return STEPS * 2 * SQUARE**3 / (time.perf_counter() - start)


def test_share_of_the_matrix_rate(benchmark, model):
    inputs = {
        "image_states": torch.rand(IMAGES, IMAGE_TOKENS, 384),
        "input_ids": torch.randint(1_000, VOCABULARY, (QUESTIONS, QUESTION_TOKENS)),
        "image_index": torch.arange(QUESTIONS) * IMAGES // QUESTIONS,
        "labels": torch.randint(1_000, VOCABULARY, (QUESTIONS, ANSWER_TOKENS)),
    }
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    rates, seconds = [], []

    def step():
        rates.append(matrix_rate())
        start = time.perf_counter()
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)

    with FlopCounterMode(display=False) as counter:
        step()
    flops = counter.get_total_flops() - STEPS * 2 * SQUARE**3 - 2 * SQUARE**3
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))
    rates.clear(), seconds.clear()
    benchmark.pedantic(step, rounds=STEPS, warmup_rounds=1)
    shares = sorted(flops / second / rate for second, rate in zip(seconds, rates, strict=True))
    print(f"{flops / 1e9:.0f} GFLOP a step, {min(seconds):.2f} s at best, shares of the matrix rate {shares}")
    assert shares[len(shares) // 2] > 0.4
