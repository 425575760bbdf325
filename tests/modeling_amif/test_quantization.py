"""Quantised models answer as float32's: a model trained for seconds, on 200 questions of phantom."""

import copy

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import BitsAndBytesConfig

from amif import AmifForVisualQuestionAnswering, AmifProcessor
from amif.training.data.phantom.datasets import load_phantom_vqa, phantom_vqa_sentences
from amif.training.processors import small_processor
from amif.training.small_model import small_model

IMAGE_SIZE, BATCH, STEPS = 48, 64, 150


def inputs_of(processor: AmifProcessor, rows: Dataset) -> dict[str, torch.Tensor]:
    images: dict[str, object] = {}
    shown = [images.setdefault(row["image_id"], row["image"]) for row in rows]
    return dict(processor(images=shown, text=rows["question"][:]))


@pytest.fixture(scope="module")
def processor() -> AmifProcessor:
    return small_processor(phantom_vqa_sentences(num_studies=240), IMAGE_SIZE)


@pytest.fixture(scope="module")
def data() -> dict[str, Dataset]:
    return load_phantom_vqa(num_studies=240, image_size=IMAGE_SIZE)


@pytest.fixture(scope="module")
def candidates(data) -> list[str]:
    return sorted(set(data["train"]["answer"]))


@pytest.fixture(scope="module")
def model(processor, data) -> AmifForVisualQuestionAnswering:
    torch.manual_seed(0)
    model = small_model(processor, IMAGE_SIZE, hidden_size=64, num_co_attention_layers=1).train()
    train = data["train"].shuffle(seed=0)
    batches = [train.select(range(start, start + BATCH)) for start in range(0, len(train) - BATCH, BATCH)]
    prepared = [(inputs_of(processor, rows), processor.encode_answers(rows["answer"][:])) for rows in batches]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-3)
    for step in range(STEPS):
        inputs, answers = prepared[step % len(prepared)]
        model(**inputs, labels=answers["input_ids"]).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def questions(processor, data) -> dict[str, torch.Tensor]:
    return inputs_of(processor, data["test"].shuffle(seed=0).select(range(200)))


def ranking(model, questions, processor, candidates):
    return model.rank_answers(**questions, answers=processor.encode_candidates(candidates))


def torch_int8(model, _folder):
    layers = {nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig}
    return torch.ao.quantization.quantize_dynamic(model, layers, dtype=torch.qint8)


def torchao_int8(model, _folder):
    quantization = pytest.importorskip("torchao.quantization")
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    return model


def torchao_int8_activations(model, _folder):
    quantization = pytest.importorskip("torchao.quantization")
    quantization.quantize_(model, quantization.Int8DynamicActivationInt8WeightConfig())
    return model


def bitsandbytes(model, folder, **options):
    """Loaded as users load it. bitsandbytes computes on a CPU too."""
    pytest.importorskip("bitsandbytes")
    model.save_pretrained(folder)
    config = BitsAndBytesConfig(bnb_4bit_compute_dtype=torch.float32, **options)
    return type(model).from_pretrained(folder, quantization_config=config, device_map="cpu")


def bitsandbytes_8_bit(model, folder):
    return bitsandbytes(model, folder, load_in_8bit=True)


def bitsandbytes_4_bit(model, folder):
    return bitsandbytes(model, folder, load_in_4bit=True, bnb_4bit_quant_type="nf4")


QUANTISED = {
    torch_int8: 0.95,
    torchao_int8: 0.95,
    torchao_int8_activations: 0.95,
    bitsandbytes_8_bit: 0.95,
    bitsandbytes_4_bit: 0.8,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("quantised", "share"), QUANTISED.items())
def test_answers_agree_with_those_of_float32(model, questions, processor, candidates, quantised, share, tmp_path):
    expected = ranking(model, questions, processor, candidates)
    other_images = questions | {"image_index": questions["image_index"].flip(0)}
    changed = ranking(model, other_images, processor, candidates).indices != expected.indices
    assert changed.float().mean() > 0.1, "the model has not learned to look"
    found = ranking(quantised(copy.deepcopy(model), tmp_path), questions, processor, candidates)
    assert not torch.equal(found.scores, expected.scores), "nothing is quantised"
    assert (found.indices == expected.indices).float().mean() >= share
