import pytest
import torch
from transformers import AutoModel, CLIPVisionConfig, Dinov2Config, ViTConfig

from amif.training.fine_tuning.parameter_groups import layer_decay_factors, train_last_blocks

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}

SMALL |= {"image_size": 32, "patch_size": 16}

ENCODERS = {"vit": ViTConfig(**SMALL), "dinov2": Dinov2Config(**SMALL), "clip": CLIPVisionConfig(**SMALL)}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_gradients_reach_the_last_blocks_and_the_last_norm_alone(encoder, count):
    model = AutoModel.from_config(ENCODERS[encoder])
    train_last_blocks(model, count)
    model(pixel_values=torch.randn(2, 3, 32, 32)).last_hidden_state.square().sum().backward()
    names = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    blocks = {int(part) for name in names for part in name.split(".") if part.isdigit()}
    assert blocks == set(range(3 - count, 3))
    outside = {name for name in names if not any(part.isdigit() for part in name.split("."))}
    # CLIP's last norm is not part of its last hidden state.
    assert outside == (set() if encoder == "clip" else {"layernorm.weight", "layernorm.bias"})


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rates_fall_from_block_to_block(encoder):
    model = AutoModel.from_config(ENCODERS[encoder])
    factors = layer_decay_factors(model, 0.5)
    assert factors.keys() == set(model.parameters())
    for name, parameter in model.named_parameters():
        numbers = [int(part) for part in name.split(".") if part.isdigit()]
        first = name.startswith(("embeddings.", "pre_layrnorm."))
        assert factors[parameter] == (0.125 if first else 0.5 ** (2 - numbers[0]) if numbers else 1.0)


@pytest.mark.parametrize("count", [0, 4, -1])
def test_blocks_that_are_not_there(count):
    with pytest.raises(ValueError, match="has 3 blocks, give 1 to 3"):
        train_last_blocks(AutoModel.from_config(ENCODERS["vit"]), count)


def test_an_encoder_without_such_blocks():
    model = AutoModel.from_config(ENCODERS["vit"])
    model.config.num_hidden_layers = 5
    with pytest.raises(ValueError, match="blocks of ViTModel are not found: leave out --trained_vision_blocks"):
        train_last_blocks(model, 1)
    with pytest.raises(ValueError, match="blocks of ViTModel are not found: leave out --vision_layer_decay"):
        layer_decay_factors(model, 0.5)
