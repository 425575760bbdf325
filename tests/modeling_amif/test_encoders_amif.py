import pytest
import torch
from small_models import WIDTH, small_inputs, small_model
from transformers import (
    BertConfig,
    Dinov2WithRegistersConfig,
    ElectraConfig,
    ResNetConfig,
    ResNetModel,
    RoFormerConfig,
    SwinConfig,
    SwinModel,
    ViTMAEConfig,
)

from amif.modeling_amif.encoders_amif import read_images


def test_encoder_without_token_states_is_refused():
    resnet = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"))
    with pytest.raises(ValueError, match="ResNetModel returns states of shape"):
        read_images(resnet, torch.randn(1, 3, 32, 32), pooling=1)


@torch.no_grad()
def test_pooling_averages_squares_and_keeps_the_class_token():
    model = small_model(image_pooling=2)
    pixels = torch.randn(2, 3, 32, 32)
    full = read_images(model.model.vision_model, pixels, pooling=1).last_hidden_state
    pooled = model.model.encode_images(pixels)
    assert pooled.shape == (2, 1 + 4, 32)
    assert torch.equal(pooled[:, 0], full[:, 0])
    patches = full[:, 1:].reshape(2, 4, 4, 32)
    torch.testing.assert_close(pooled[:, 2], patches[:, :2, 2:].mean((1, 2)))
    with pytest.raises(ValueError, match="does not divide"):
        read_images(model.model.vision_model, pixels, pooling=3)


@torch.no_grad()
def test_hidden_states_of_several_blocks_stand_side_by_side():
    model = small_model(vision_feature_layer=[0, 1, -1], image_pooling=2)
    encoder, pixels, seen = model.model.vision_model, torch.randn(2, 3, 32, 32), []
    for module in [encoder.embeddings, encoder.layers[0], encoder.layernorm]:
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    states = model.model.encode_images(pixels)
    assert states.shape == (2, 1 + 4, 3 * 32)
    for place, state in enumerate(seen):
        normal = (state - state.mean(-1, keepdim=True)) / (state.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        patches = normal[:, 1:].reshape(2, 2, 2, 2, 2, 32).mean((2, 4)).flatten(1, 2)
        expected = torch.cat([normal[:, :1], patches], dim=1)
        torch.testing.assert_close(states[..., 32 * place : 32 * (place + 1)], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_hidden_states_are_returned_only_where_they_are_asked_for():
    model, pixels = small_model(vision_feature_layer=[1, 2]).model, torch.randn(1, 3, 32, 32)
    assert model.read_images(pixels).hidden_states is None
    assert model.read_images(pixels, output_hidden_states=False).hidden_states is None
    assert len(model.read_images(pixels, output_hidden_states=True).hidden_states) == 3


def test_an_answer_by_hidden_states_trains_all_of_the_encoder():
    """A parameter without a gradient would stop several processes."""
    model = small_model(vision_feature_layer=[0, -1])
    model(**small_inputs(), labels=torch.tensor([[101, 5, 102]] * 4)).loss.backward()
    assert all(parameter.grad is not None for parameter in model.model.vision_model.parameters())
    first = small_model(vision_feature_layer=-1)
    first(**small_inputs(), labels=torch.tensor([[101, 5, 102]] * 4)).loss.backward()
    both, last = (one.model.vision_model.embeddings.cls_token.grad for one in (model, first))
    assert not torch.allclose(both, last), "the embeddings are read beside the last block"


@torch.no_grad()
def test_registers_are_left_out_of_every_hidden_state():
    config = Dinov2WithRegistersConfig(image_size=32, patch_size=8, num_register_tokens=3, **WIDTH)
    states = small_model(vision_config=config, vision_feature_layer=[1, 2]).model.encode_images(
        torch.randn(1, 3, 32, 32)
    )
    assert states.shape == (1, 1 + 16, 2 * 32)


def test_hidden_states_of_different_shapes_are_refused():
    swin = SwinModel(
        SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=2)
    )
    with pytest.raises(
        ValueError, match=r"SwinModel has hidden states of the shapes .*at vision_feature_layer=\[0, -1\]"
    ):
        read_images(swin, torch.randn(1, 3, 32, 32), 1, [0, -1])


def test_an_encoder_that_reads_a_random_part_of_each_image_is_refused():
    with pytest.raises(ValueError, match="'vit_mae' reads a random part of each image"):
        small_model(vision_config=ViTMAEConfig(image_size=56, patch_size=14, **WIDTH))


@pytest.mark.parametrize("config", [RoFormerConfig, ElectraConfig], ids=["positions", "output layer"])
def test_a_decoder_whose_answers_could_not_be_ranked_is_refused(config):
    other = config(vocab_size=120, max_position_embeddings=64, embedding_size=32, **WIDTH)
    with pytest.raises(ValueError, match=f"Decoder type '{other.model_type}' is not BERT-like"):
        small_model(decoder_config=other)


def test_word_embeddings_may_be_narrower_than_the_text_encoders_states():
    model = small_model(
        text_config=ElectraConfig(vocab_size=120, max_position_embeddings=64, embedding_size=16, **WIDTH)
    )
    with torch.no_grad():
        known = model(torch.zeros(1, 3, 32, 32), torch.tensor([[101, 5, 102]])).logits
        model.set_knowledge([3, 4])
        other = model(torch.zeros(1, 3, 32, 32), torch.tensor([[101, 5, 102]])).logits
    assert torch.isfinite(known).all()
    assert not torch.equal(known, other)


def test_one_configuration_for_text_and_decoder_leaves_the_text_read_in_both_directions():
    bert = BertConfig(vocab_size=120, max_position_embeddings=64, **WIDTH)
    model = small_model(text_config=bert, decoder_config=bert)
    assert not bert.is_decoder, "the caller's object is as it was"
    with torch.no_grad():
        one, other = (model.model.encode_texts(torch.tensor([[101, 5, last]]), torch.ones(1, 3)) for last in (6, 7))
    assert (one[:, 0] - other[:, 0]).abs().max() > 1e-3, "the first token sees the last"
