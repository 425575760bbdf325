"""Memory and time of a fine-tuning step at the paper's size; weights are random, which changes no amount of work.

Run as a program it prints one JSON object: `python test_training_memory.py QUESTIONS IMAGES CHECKPOINTING STEPS`.
"""

import json
import resource
import subprocess
import sys
import time

import pytest
import torch

from amif import AmifConfig, AmifForVisualQuestionAnswering

pytestmark = pytest.mark.slow

QUESTION_TOKENS, ANSWER_TOKENS, KNOWLEDGE_TOKENS = 16, 6, 600
GIB = 2**30


# Later steps need more than the first, before which AdamW has no state.
@pytest.mark.parametrize(
    ("questions", "images", "checkpointing", "steps", "limit"), [(8, 2, 0, 3, 10), (64, 16, 1, 1, 20)]
)
def test_peak_memory_of_bf16_steps(questions, images, checkpointing, steps, limit):
    command = [sys.executable, __file__, *map(str, (questions, images, checkpointing, steps))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    print(measured)
    assert measured["peak_gib"] < limit


def inputs(questions: int, images: int) -> dict[str, torch.Tensor]:
    start, end = torch.full((questions, 1), 101), torch.full((questions, 1), 102)
    words = torch.randint(1_000, 28_000, (questions, ANSWER_TOKENS - 2))
    return {
        "pixel_values": torch.rand(images, 3, 288, 288),
        "input_ids": torch.randint(1_000, 28_000, (questions, QUESTION_TOKENS)),
        "image_index": torch.arange(questions) * images // questions,
        "labels": torch.cat([start, words, end], dim=1),
    }


def main(questions: int, images: int, checkpointing: int, steps: int) -> None:
    """Steps as the trainer makes them: bf16 autocast, gradients clipped, fused AdamW; the first one warms up."""
    torch.manual_seed(0)
    model = AmifForVisualQuestionAnswering(AmifConfig()).train()
    model.set_knowledge(torch.randint(1_000, 28_000, (KNOWLEDGE_TOKENS,)))
    if checkpointing:
        model.activation_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**inputs(questions, images)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(round(time.perf_counter() - start, 2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    print(json.dumps({"peak_gib": round(peak, 2), "seconds": seconds, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
