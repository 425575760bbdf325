"""What the paper's runs cost: operations and memory of its steps, the hours that follow, and the time to read a view.

docs/reproduce.md has the figures. Operations are counted by torch on one example; weights are random, which changes no
amount of work. Needs some 8 GiB.
"""

import time
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, CLIPVisionConfig

from amif import AmifConfig, AmifForPreTraining, AmifForVisualQuestionAnswering
from amif.training.data import StrongAugmentation
from amif.training.data.images import decode_image

pytestmark = pytest.mark.slow

PATCHES, REPORT_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS, KNOWLEDGE_TOKENS = 324, 120, 20, 6, 2_000

# Training studies of MIMIC-CXR, ROCO and 95 % of MedICaT; questions of each set.
STUDIES = 222_758 + 65_460 + 206_207
EXAMPLES = {
    "stage one": {"pre-training": 20 * STUDIES},
    "stage two": {"pre-training": 10 * STUDIES},
    "fine-tuning": {"vqa_rad": 60 * 3_064, "slake": 60 * 4_919, "path_vqa": 60 * 19_755, "vqa_med_2019": 60 * 12_792},
}

# Dense bfloat16 of the data sheets, in operations a second; and the share of it that is assumed to be reached.
GPUS = {"2 x A100": 2 * 312e12, "1 x H100 or H200": 989e12, "8 x A100": 8 * 312e12, "8 x H100": 8 * 989e12}
UTILISATION = 0.35


def config_of(width):
    bert = BertConfig(vocab_size=28_996, hidden_size=width, intermediate_size=4 * width, num_attention_heads=12)
    vision = CLIPVisionConfig(hidden_size=width, intermediate_size=4 * width, image_size=288, patch_size=16)
    return AmifConfig(vision_config=vision, text_config=bert)


def pretraining_step(stage, width):
    """One study of two views and the longest report; its negatives are itself, which costs what others would."""
    model = AmifForPreTraining(config_of(width)).train()
    model.model.vision_model.requires_grad_(stage == "global")
    model.model.text_model.requires_grad_(stage == "global")
    inputs = {"pixel_values": torch.rand(2, 3, 288, 288), "input_ids": torch.randint(999, 9_999, (1, REPORT_TOKENS))}
    names = ["image_embeds", "text_embeds"]
    if stage == "local":
        inputs["hard_negatives"] = torch.zeros(1, 3, dtype=torch.long)
        names = ["fused_image_states", "fused_text_states", "matching_logits"]

    def step():
        output = model(**inputs)
        return sum(getattr(output, name).float().sum() for name in names)

    return model, step


def fine_tuning_step(knowledge, width):
    """One question about one image, and the knowledge that a whole batch shares."""
    model = AmifForVisualQuestionAnswering(config_of(width)).train()
    model.set_knowledge(torch.randint(999, 9_999, (knowledge,)))
    ends = torch.tensor([[101], [102]])
    labels = torch.cat([ends[:1], torch.randint(999, 9_999, (1, ANSWER_TOKENS - 2)), ends[1:]], dim=1)
    questions = torch.randint(999, 9_999, (1, QUESTION_TOKENS))
    return model, lambda: model(pixel_values=torch.rand(1, 3, 288, 288), input_ids=questions, labels=labels).loss


STEPS = {
    "stage one": lambda width: pretraining_step("global", width),
    "stage two": lambda width: pretraining_step("local", width),
    "fine-tuning": lambda width: fine_tuning_step(1, width),
    "fine-tuning with knowledge": lambda width: fine_tuning_step(KNOWLEDGE_TOKENS, width),
}


def measure(model, step, low_precision=False):
    """Operations forward and backward, and bytes kept for the backward pass, each tensor once, without weights."""
    kept, weights = {}, {weight.data_ptr() for weight in model.parameters()}

    def note(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = (tensor, tensor.untyped_storage().nbytes())  # alive, so that no address is reused
        return tensor

    precision = torch.autocast("cpu", torch.bfloat16) if low_precision else nullcontext()
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), precision:
            loss = step()
        loss.backward()
    return counter.get_total_flops(), sum(size for _, size in kept.values())


@pytest.mark.parametrize("name", STEPS)
def test_operations_and_memory_of_a_step(name):
    model, step = STEPS[name](768)
    operations, kept = measure(model, step)
    # What is kept grows with the width, and so does what bfloat16 saves of it: seen on a narrow model, which is quick.
    narrow = STEPS[name](96)
    ratio = measure(*narrow, low_precision=True)[1] / measure(*narrow)[1]
    weights = sum(weight.numel() for weight in model.parameters()) / 1e6
    print(
        f"\n{name}, {weights:.1f} million parameters: {operations / 1e9:.0f} GFLOP, {ratio * kept / 2**20:.0f} MiB kept"
    )
    print(f"in bfloat16, {ratio:.2f} of float32")
    for run, examples in EXAMPLES.get(name, {}).items():
        hours = {gpus: examples * operations / (UTILISATION * peak) / 3_600 for gpus, peak in GPUS.items()}
        print(run, {gpus: round(value, 2) for gpus, value in hours.items()})
    if name == "stage one":
        # Both encoders have 12 layers of 12 d^2 weights; a multiplication and an addition, thrice with backward.
        tokens = (2 * (PATCHES + 1), REPORT_TOKENS)
        products = 6 * 12 * 12 * 768**2 * sum(tokens)
        attention = 3 * 4 * 12 * 768 * (2 * (PATCHES + 1) ** 2 + REPORT_TOKENS**2)
        assert operations == pytest.approx(products + attention, rel=0.05)


def test_operations_that_questions_about_one_image_share():
    """Of the co-attention, forward and backward, for eight questions about two images; tensors have shapes alone."""
    with torch.device("meta"):
        co_attention = AmifForVisualQuestionAnswering(config_of(768)).model.co_attention.eval()
        index = torch.tensor([0] * 4 + [1] * 4)
        texts, images = torch.empty(8, QUESTION_TOKENS, 768), torch.empty(2, PATCHES + 1, 768)
    counts = []
    for states, places in ((images[index], None), (images, index)):
        with FlopCounterMode(display=False) as counter:
            text, image, _ = co_attention(texts, states, image_index=places)
            forward = counter.get_total_flops()
            (text.sum() + image.sum()).backward()
        counts.append((forward / 1e9, counter.get_total_flops() / 1e9))
    print("\nGFLOP forward, and with the backward pass, each question by itself and images shared:", counts)
    assert counts[1] < counts[0]


@pytest.mark.parametrize("size", [(2544, 3056), (512, 615)])
def test_time_to_read_and_augment_a_view(size, tmp_path):
    """From a JPEG file; the larger size is one of MIMIC-CXR-JPG's."""
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).resize(size)
    smooth.save(tmp_path / "film.jpg", quality=95)
    augment, seconds = StrongAugmentation(288), []
    for row in range(20):
        start = time.process_time()
        image = decode_image({"path": str(tmp_path / "film.jpg"), "bytes": None}, "film").convert("RGB")
        assert augment(image, epoch=0, row=row).size == (288, 288)
        seconds.append(time.process_time() - start)
    print(f"\n{size}: {1000 * sum(seconds) / len(seconds):.0f} ms of CPU time")
