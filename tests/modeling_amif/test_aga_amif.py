import math

import pytest
import torch
from pretraining_runs import spread_weights
from remote_loading import check_loads_without_amif
from safetensors.torch import load_file, save_file
from small_models import WIDTH, small_config
from torch.testing import assert_close
from transformers import AutoConfig, AutoModel, SiglipVisionConfig

from amif import AgaConfig, AgaForPreTraining, AmifConfig, AmifForVisualQuestionAnswering
from amif.modeling_amif.aga_amif import fixed_threshold

REPORTS = torch.tensor([[101, 5, 6, 7, 102, 0], [101, 8, 9, 102, 0, 0], [101, 10, 11, 12, 13, 102]])
WORDS = [[0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0]]


def aga_config(**changes):
    own = {"alignment_size": 16, **{name: changes.pop(name) for name in ("gate", "local_adaptors") if name in changes}}
    return AgaConfig(**small_config(**changes).to_dict() | own)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return spread_weights(AgaForPreTraining(aga_config()))


@pytest.fixture
def inputs():
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return {"pixel_values": pixels, "input_ids": REPORTS % 120, "attention_mask": (REPORTS > 0).long()}


@torch.no_grad()
def test_tokens_and_embeddings_are_linear_in_the_encoders_states(model, inputs):
    output = model(**inputs)
    image = model.model.image_projection(model.model.vision_model(inputs["pixel_values"]).last_hidden_state)
    text = model.model.encode_texts(inputs["input_ids"], inputs["attention_mask"])
    assert_close(output.image_tokens, model.image_adaptor(image[:, 1:]))
    assert_close(output.text_tokens, model.text_adaptor(text))
    assert_close(output.image_embeds[0], torch.nn.functional.normalize(image[:, 0], dim=-1))
    assert_close(output.image_embeds[0], model.embed_images(inputs["pixel_values"]))
    assert_close(output.text_embeds, model.embed_texts(inputs["input_ids"], inputs["attention_mask"]))
    assert output.text_token_mask.int().tolist() == WORDS
    assert output.image_tokens.shape == (3, 16, 16)


@torch.no_grad()
def test_without_adaptors_groups_are_gathered_where_whole_images_and_reports_are_aligned(inputs, tmp_path):
    torch.manual_seed(0)
    model = spread_weights(AgaForPreTraining(aga_config(local_adaptors=False, pooling_mode="mean")))
    output = model(**inputs)
    assert output.image_tokens.shape == (3, 16, model.config.hidden_size)
    mean = torch.nn.functional.normalize(output.image_tokens, dim=-1).mean(dim=1)
    assert_close(output.image_embeds[0], torch.nn.functional.normalize(mean, dim=-1))
    assert_close(output.text_tokens, model.model.encode_texts(inputs["input_ids"], inputs["attention_mask"]))
    assert not any("adaptor" in name for name in model.state_dict())
    model.save_pretrained(tmp_path)
    assert_close(AutoModel.from_pretrained(tmp_path)(**inputs).text_thresholds, output.text_thresholds)


def gate_by_hand(gate, item, mean, number):
    hidden = torch.nn.functional.gelu(gate.expand(torch.cat([item, mean])))
    learned = gate.contract(hidden).item() + math.log(1 / number) - math.log(1 - 1 / number)
    return min(max(1 / (1 + math.exp(-learned)), 1e-4), 0.95)


@torch.no_grad()
@pytest.mark.parametrize("gate", ["per_item", "per_pair"])
def test_thresholds_equal_a_loop(inputs, gate):
    torch.manual_seed(0)
    model = spread_weights(AgaForPreTraining(aga_config(gate=gate)))
    output = model(**inputs)
    for i, words in enumerate(torch.tensor(WORDS).bool()):
        text, image = output.text_tokens[i], output.image_tokens[i]
        means = text[words].mean(dim=0), image.mean(dim=0)
        for token in words.nonzero().flatten().tolist():
            item = means[0] if gate == "per_pair" else text[token]
            expected = gate_by_hand(model.language_gate, item, means[1], 16)
            assert output.text_thresholds[i, token].item() == pytest.approx(expected, rel=1e-4)
        for patch in range(16):
            item = means[1] if gate == "per_pair" else image[patch]
            expected = gate_by_hand(model.vision_gate, item, means[0], int(words.sum()))
            assert output.image_thresholds[i, patch].item() == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_training_starts_from_the_fixed_thresholds(inputs):
    for gate in ("per_item", "per_pair", "fixed"):
        output = AgaForPreTraining(aga_config(gate=gate)).eval()(**inputs)
        assert_close(output.text_thresholds, torch.full((3, 6), 1 / 16), atol=1e-7, rtol=1e-6)
        assert_close(output.image_thresholds, torch.tensor([[1 / 3], [1 / 2], [1 / 4]]).expand(3, 16))
    assert AgaForPreTraining(aga_config(gate="fixed")).language_gate is None


def test_thresholds_stay_in_their_bounds():
    mask = torch.zeros(3, 20_000, dtype=torch.bool)
    mask[0], mask[1, :1] = True, True
    assert_close(fixed_threshold(mask), torch.tensor([[1e-4], [0.95], [0.95]]))


@torch.no_grad()
def test_other_pairs_and_padding_change_nothing(model, inputs):
    output = model(**inputs)
    alone = model(inputs["pixel_values"][:1], inputs["input_ids"][:1, :5], inputs["attention_mask"][:1, :5])
    for name in ("text_tokens", "text_thresholds"):
        assert_close(alone[name][:, 1:4], output[name][:1, 1:4], atol=1e-5, rtol=1e-4)
    for name in ("image_tokens", "image_thresholds"):
        assert_close(alone[name], output[name][:1], atol=1e-5, rtol=1e-4)


def test_gradients_reach_every_weight(model, inputs):
    output = model(**inputs)
    tokens = output.text_tokens.square().mean() + output.image_tokens.square().mean()
    (tokens + output.text_thresholds.sum() + output.image_thresholds.sum() + output.temperatures.sum()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@torch.no_grad()
def test_without_a_class_token_all_states_are_patches(inputs):
    vision = SiglipVisionConfig(image_size=32, patch_size=8, **WIDTH)
    output = AgaForPreTraining(aga_config(vision_config=vision)).eval()(**inputs)
    assert output.image_tokens.shape[1] == 16


def test_wrong_inputs_and_gates_are_refused(model, inputs):
    with pytest.raises(ValueError, match="2 images and 3 reports"):
        model(**(inputs | {"pixel_values": inputs["pixel_values"][:2]}))
    with pytest.raises(ValueError, match="gate='none'"):
        AgaConfig(gate="none")


@torch.no_grad()
def test_saved_and_loaded_through_the_auto_classes(model, inputs, tmp_path):
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (type(config), config.alignment_size) == (AgaConfig, 16)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is AgaForPreTraining
    for name, value in loaded(**inputs).items():
        assert torch.equal(value, model(**inputs)[name]), name


def test_what_a_checkpoint_lacks_starts_as_in_a_new_model(model, tmp_path):
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "gate" not in name and "temperature" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = AutoModel.from_pretrained(tmp_path)
    assert_close(loaded.temperatures, torch.full((2,), 0.07))
    for gate in (loaded.language_gate, loaded.vision_gate):
        assert not gate.contract.weight.any()
        assert not gate.contract.bias.any()
        assert gate.expand.weight.isfinite().all()


def test_checkpoint_loads_where_amif_is_not_installed(model, inputs, tmp_path):
    check_loads_without_amif(model, inputs, "text_thresholds", tmp_path)


@torch.no_grad()
def test_question_answering_takes_encoders_and_projections_over(model, inputs, tmp_path):
    model.save_pretrained(tmp_path)
    answering = AmifForVisualQuestionAnswering.from_pretraining(str(tmp_path)).eval()
    assert type(answering.config) is AmifConfig
    assert not hasattr(answering.config, "alignment_size")
    weights = answering.model.state_dict()
    for name, weight in model.model.state_dict().items():
        assert torch.equal(weights[name], weight), name
    assert answering.model.co_attention.text_layers[0].self_attention.query.weight.std() > 0
    assert answering(**inputs).logits.isfinite().all()
    answering.save_pretrained(tmp_path / "vqa")
    assert type(AutoModel.from_pretrained(tmp_path / "vqa")) is AmifForVisualQuestionAnswering


def test_from_real_encoders(models_dir):
    vision, text = str(models_dir / "dinov2-small"), str(models_dir / "minilm-l6")
    model = AgaForPreTraining.from_encoders(vision, text, image_size=56, gate="per_pair")
    own = AutoModel.from_pretrained(text, dtype=torch.float32)
    assert torch.equal(
        model.model.text_model.encoder.layer[5].output.dense.weight, own.encoder.layer[5].output.dense.weight
    )
    assert model.config.gate == "per_pair"
