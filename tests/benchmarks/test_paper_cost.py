"""What a step at the paper's size costs, for the hours and the memory that docs/reproduce.md computes from it.

Operations are counted by torch on one example; weights are random, which changes no amount of work. Needs some 6 GiB.
"""

import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from amif import AmifConfig, AmifForPreTraining, AmifForVisualQuestionAnswering
from amif.training.data import StrongAugmentation
from amif.training.data.images import decode_image

pytestmark = pytest.mark.slow

REPORT_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS = 120, 20, 6


def pretraining_step(stage):
    """One study of two views and the longest report, its negatives itself, which costs what others would."""
    model = AmifForPreTraining(AmifConfig()).train()
    for part in (model.model.vision_model, model.model.text_model):
        part.requires_grad_(stage == "global")
    inputs = {"pixel_values": torch.rand(2, 3, 288, 288), "input_ids": torch.randint(999, 9_999, (1, REPORT_TOKENS))}
    negatives = torch.zeros(1, 3, dtype=torch.long) if stage == "local" else None

    def step():
        output = model(**inputs, hard_negatives=negatives)
        names = ("fused_image_states", "fused_text_states", "matching_logits")
        parts = (
            [getattr(output, name) for name in names] if stage == "local" else [output.image_embeds, output.text_embeds]
        )
        return sum(part.sum() for part in parts)

    return model, step


def fine_tuning_step(knowledge):
    """One question about one image, with the knowledge that a whole batch shares."""
    model = AmifForVisualQuestionAnswering(AmifConfig()).train()
    if knowledge:
        model.set_knowledge(torch.randint(999, 9_999, (knowledge,)))
    ends = torch.tensor([[101], [102]])
    labels = torch.cat([ends[:1], torch.randint(999, 9_999, (1, ANSWER_TOKENS - 2)), ends[1:]], dim=1)
    questions = torch.randint(999, 9_999, (1, QUESTION_TOKENS))
    return model, lambda: model(pixel_values=torch.rand(1, 3, 288, 288), input_ids=questions, labels=labels).loss


CASES = {
    "stage one": lambda: pretraining_step("global"),
    "stage two": lambda: pretraining_step("local"),
    "fine-tuning without knowledge": lambda: fine_tuning_step(0),
    "fine-tuning, 2,000 tokens of knowledge": lambda: fine_tuning_step(2_000),
}


@pytest.mark.parametrize("name", CASES)
def test_operations_and_memory_of_a_step(name):
    """Operations forward and backward, and what is kept for the backward pass, each tensor once, without weights."""
    model, step = CASES[name]()
    kept, weights = {}, {weight.data_ptr() for weight in model.parameters()}

    def note(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = step()
        loss.backward()
    total, trained = (
        sum(weight.numel() for weight in model.parameters() if weight.requires_grad or every) for every in (True, False)
    )
    print(
        f"\n{name}: {counter.get_total_flops() / 1e9:.0f} GFLOP, {sum(kept.values()) / 2**20:.0f} MiB kept in float32, "
    )
    print(f"{total / 1e6:.1f} million parameters, {trained / 1e6:.1f} of them trained")
    # A product that a linear layer makes costs 2 operations a weight and token, and thrice that with its backward pass.
    tokens = {
        "stage one": 325,
        "stage two": 120,
        "fine-tuning without knowledge": 26,
        "fine-tuning, 2,000 tokens of knowledge": 26,
    }
    assert counter.get_total_flops() > 2 * tokens[name] * 85e6


@pytest.mark.parametrize("size", [(2544, 3056), (512, 615)])
def test_time_of_a_view(size, tmp_path):
    """From a JPEG file to an augmented view; the larger size is MIMIC-CXR-JPG's."""
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).resize(size)
    smooth.save(tmp_path / "film.jpg", quality=95)
    augment, seconds = StrongAugmentation(288), []
    for row in range(20):
        start = time.process_time()
        image = decode_image({"path": str(tmp_path / "film.jpg"), "bytes": None}, "film")
        augment(image, epoch=0, row=row)
        seconds.append(time.process_time() - start)
    print(f"\n{size}: {1000 * sum(seconds) / len(seconds):.0f} ms of CPU time")
    assert max(seconds) < 60
