"""Equal texts of a batch, and the questions of one image, share what does not depend on what they are read with."""

from typing import Any

import pytest
import torch
from small_models import padded, small_config, small_inputs, small_model
from torch.testing import assert_close
from transformers import BertConfig

from amif.modeling_amif.modeling_amif import distinct_texts

TEXTS, IMAGES = [0, 1, 0, 2, 1, 0], [1, 0, 0, 1, 1, 1]
LABELS = padded([[5], [6, 7, 8], [9, 10], [11], [5], [6, 7]])["input_ids"]
NO_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def certain_model():
    """A model whose readings in training are all alike."""
    parts = {
        name: BertConfig(**getattr(small_config(), name).to_dict() | NO_DROPOUT)
        for name in ("text_config", "decoder_config")
    }
    return small_model(**parts, **NO_DROPOUT).train()


def inputs():
    inputs = small_inputs(3)
    texts = {name: inputs[name][TEXTS] for name in ("input_ids", "attention_mask")}
    return {"pixel_values": inputs["pixel_values"], "image_index": torch.tensor(IMAGES), **texts}


def rows_read(model, **options):
    """How many rows the text encoder and each layer's self-attention read."""
    core, read = model.model, {}
    parts = {"texts": core.text_model}
    for kind in ("text", "image"):
        layers = getattr(core.co_attention, f"{kind}_layers")
        parts |= {f"{kind} {number}": layer.self_attention.query for number, layer in enumerate(layers)}
    hooks = [
        part.register_forward_hook(lambda *_, name=name: read.update({name: len(_[2][0] if name == "texts" else _[2])}))
        for name, part in parts.items()
    ]
    output = model(**inputs(), labels=LABELS, **options)
    for hook in hooks:
        hook.remove()
    return read, output


def test_what_is_alike_is_read_once():
    read, output = rows_read(certain_model())
    assert read == {"texts": 3, "text 0": 3, "text 1": 6, "image 0": 2, "image 1": 6}
    assert output.joint_states.shape[0] == output.attention_mask.shape[0] == 6


def test_dropout_reads_each_by_itself():
    read, _ = rows_read(small_model().train())
    assert set(read.values()) == {6}
    read, _ = rows_read(small_model())
    assert read["texts"] == 3


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_losses_and_gradients_equal_those_of_each_question_alone(layers):
    torch.manual_seed(0)
    model, batch = certain_model(), inputs()
    model.model.co_attention.text_layers = model.model.co_attention.text_layers[:layers]
    model.model.co_attention.image_layers = model.model.co_attention.image_layers[:layers]
    loss = model(**batch, labels=LABELS).loss
    loss.backward()
    together = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    alone = 0.0
    for row, image in enumerate(IMAGES):
        texts = {name: batch[name][[row]] for name in ("input_ids", "attention_mask")}
        one = model(batch["pixel_values"][[image]], **texts, labels=LABELS[[row]]).loss / len(IMAGES)
        one.backward()
        alone += one.item()
    assert_close(loss.item(), alone, rtol=1e-5, atol=1e-5)
    for name, parameter in model.named_parameters():
        if name in together:
            assert_close(together[name], parameter.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_attentions_are_of_every_question():
    model = certain_model()
    model.set_attn_implementation("eager")
    read, output = rows_read(model, output_attentions=True)
    assert set(read.values()) == {6}
    assert output.text_attentions[0].shape[0] == output.image_attentions[0].shape[0] == 6


def test_texts_that_differ_in_padding_alone_are_two():
    ids = torch.tensor([[5, 0], [5, 0], [5, 0]])
    mask = torch.tensor([[1, 1], [1, 0], [1, 1]])
    texts, masks, index = distinct_texts(ids, mask)
    assert masks is not None
    assert torch.equal(texts[index], ids)
    assert torch.equal(masks[index], mask)
    assert len(texts) == 2
    assert distinct_texts(ids[:2], mask[:2])[2] is None
    assert distinct_texts(ids, None)[1] is None
