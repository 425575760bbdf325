import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import WIDTH
from torch.nn.functional import interpolate
from transformers import (
    BeitConfig,
    BeitModel,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    ElectraConfig,
    ElectraModel,
    ModernBertConfig,
    ModernBertModel,
    ResNetConfig,
    ResNetModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTModel,
)

from amif import AmifForPreTraining, AmifForVisualQuestionAnswering
from amif.modeling_amif.encoder_loading_amif import load_weights, resize_position_embeddings, with_first_layers

BERT = BertConfig(vocab_size=120, max_position_embeddings=64, **WIDTH)
VISION = WIDTH | {"hidden_size": 48, "image_size": 56, "patch_size": 14}
DINOV2 = {name: value for name, value in VISION.items() if name != "intermediate_size"}


def clip(image_size=32):
    vision = WIDTH | {"hidden_size": 48, "image_size": image_size, "patch_size": 8}
    text = WIDTH | {"vocab_size": 99, "max_position_embeddings": 20}
    torch.manual_seed(0)
    return CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=16))


@pytest.fixture
def text(tmp_path):
    torch.manual_seed(1)
    BertModel(BERT).save_pretrained(tmp_path / "text")
    return str(tmp_path / "text")


def heads(**config):
    return {"num_attention_heads": 4, "num_co_attention_layers": 1} | config


@pytest.mark.parametrize(
    "vision_model",
    [
        ViTModel(ViTConfig(**VISION)),
        Dinov2Model(Dinov2Config(mlp_ratio=2, **DINOV2)),
        SiglipVisionModel(SiglipVisionConfig(**VISION)),
        SwinModel(
            SwinConfig(image_size=56, patch_size=7, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=2)
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_image_encoder_of_any_width(vision_model, text, tmp_path):
    vision_model.save_pretrained(tmp_path / "vision")
    model = AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "vision"), text, **heads()).eval()
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        expected = vision_model.eval()(pixel_values=pixels).last_hidden_state
        torch.testing.assert_close(model.model.encode_images(pixels), expected)
        logits = model(pixels, torch.tensor([[101, 5, 102]] * 2)).logits
    assert getattr(model.model.vision_model, "head", None) is None, "a pooling head would never be trained"
    assert model.config.hidden_size == 32, "the text encoder's width"
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    "vision_model",
    [
        Dinov2WithRegistersModel(Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=3, **DINOV2)),
        DINOv3ViTModel(DINOv3ViTConfig(num_register_tokens=3, **VISION)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_registers_are_read_and_left_out(vision_model, text, tmp_path):
    """What is left is a class token and a square of patches, also at another size."""
    vision_model.save_pretrained(tmp_path / "vision")
    model = AmifForPreTraining.from_encoders(str(tmp_path / "vision"), text, image_size=84, num_co_attention_layers=1)
    pixels = torch.randn(1, 3, 84, 84)
    with torch.no_grad():
        whole = vision_model.eval()(pixel_values=pixels).last_hidden_state
        states = model.eval().model.encode_images(pixels)
        assert model.embed_images(pixels).shape == (1, 32)
    assert states.shape[1] == 1 + 6 * 6
    if vision_model.config.model_type == "dinov3_vit":  # whose positions are no table that is resized
        torch.testing.assert_close(states, whole[:, [0, *range(4, 40)]])


WORDS = WIDTH | {"vocab_size": 120, "max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("text_model", "said"),
    [
        (ElectraModel(ElectraConfig(**WORDS)), "Decoder type 'electra' is not BERT-like; .* name a decoder of its own"),
        (ModernBertModel(ModernBertConfig(pad_token_id=0, **WORDS)), "Decoder type 'modernbert' is not BERT-like"),
        (CLIPTextModel(CLIPTextConfig(**WORDS)), r"is CLIP's or one like it, .* no \[CLS\] that reads the whole text"),
        (clip(), r"is CLIP's or one like it, .* give a BERT-like one"),
    ],
    ids=lambda model: type(model).__name__ if isinstance(model, torch.nn.Module) else "",
)
def test_a_text_encoder_that_cannot_decode_takes_a_decoder_and_clips_is_refused(text_model, said, text, tmp_path):
    ViTModel(ViTConfig(**VISION)).save_pretrained(tmp_path / "vision")
    text_model.save_pretrained(tmp_path / "words")
    vision, words = str(tmp_path / "vision"), str(tmp_path / "words")
    with pytest.raises(ValueError, match=said):
        AmifForVisualQuestionAnswering.from_encoders(vision, words, **heads())
    if "Decoder" in said:
        model = AmifForVisualQuestionAnswering.from_encoders(vision, words, text, **heads()).eval()
        ids = torch.tensor([[2, 7, 8, 3]])
        with torch.no_grad():
            expected = text_model.eval()(ids).last_hidden_state
            torch.testing.assert_close(model.model.read_texts(ids).last_hidden_state, expected)


@pytest.mark.parametrize(
    ("vision_model", "said"),
    [
        (
            BeitModel(BeitConfig(use_relative_position_bias=True, vocab_size=20, **VISION)),
            "relative_position_bias_table' has shape .* Keep the encoder's own image_size",
        ),
        (
            Siglip2VisionModel(Siglip2VisionConfig(num_patches=16, **(WIDTH | {"patch_size": 14}))),
            r"'siglip2_vision_model' \(NaFlex\) reads patches that its own processor cuts; use a SigLIP 2 of one",
        ),
    ],
    ids=["BEiT", "SigLIP 2"],
)
def test_what_an_image_encoder_cannot_do_is_said_when_it_is_built(vision_model, said, text, tmp_path):
    vision_model.save_pretrained(tmp_path / "vision")
    with pytest.raises(ValueError, match=said):
        AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "vision"), text, image_size=84, **heads())


def test_clip_gives_its_vision_tower_normalised_on_every_token(text, tmp_path):
    source = clip().eval()
    source.save_pretrained(tmp_path / "clip")
    model = AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "clip"), text, **heads()).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tower = source.vision_model(pixel_values=pixels)
        states = model.model.encode_images(pixels)
    torch.testing.assert_close(states, source.vision_model.post_layernorm(tower.last_hidden_state))
    torch.testing.assert_close(states[:, 0], tower.pooler_output)
    assert not any("text_model" in name for name in model.model.vision_model.state_dict())


def test_half_precision_checkpoints_come_up_in_float32(text, tmp_path):
    clip().half().save_pretrained(tmp_path / "clip")
    model = AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "clip"), text, **heads())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_from_encoders_resizes_positions_to_the_image_size(text, tmp_path):
    source = clip(image_size=32)
    source.save_pretrained(tmp_path / "clip")
    model = AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "clip"), text, image_size=48, **heads()).eval()
    old = source.vision_model.embeddings.position_embedding.weight
    new = model.model.vision_model.embeddings.position_embedding.weight
    assert new.shape == (1 + 6 * 6, 48)
    assert torch.equal(new[0], old[0]), "the class token is kept"
    grid = old[1:].T.reshape(1, 48, 4, 4)
    expected = interpolate(grid, size=(6, 6), mode="bicubic")[0].flatten(1).T
    torch.testing.assert_close(new[1:], expected)
    assert torch.isfinite(model(torch.randn(1, 3, 48, 48), torch.tensor([[101, 102]])).logits).all()


def test_positions_from_224_to_288():
    """14 x 14 to 18 x 18: each value of a ramp moves to where it belongs, as nearly as bicubic weights keep a ramp."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 14), torch.linspace(0, 1, 14), indexing="ij")
    table = torch.cat([torch.full((1, 2), 7.0), torch.stack([rows.flatten(), columns.flatten()], dim=1)])
    resized = resize_position_embeddings(table, 325)
    assert torch.equal(resized[0], table[0])
    centres = ((torch.arange(18) + 0.5) * 14 / 18 - 0.5) / 13
    inner = slice(2, -2)  # bicubic weights reach over the border
    torch.testing.assert_close(resized[1:].reshape(18, 18, 2)[inner, inner, 0][:, 0], centres[inner], atol=5e-3, rtol=0)
    torch.testing.assert_close(resized[1:].reshape(18, 18, 2)[inner, inner, 1][0], centres[inner], atol=5e-3, rtol=0)


def test_same_size_is_left_as_it_is():
    table = torch.randn(197, 8)
    torch.testing.assert_close(resize_position_embeddings(table, 197), table)


def test_tables_that_are_no_grid_are_refused():
    with pytest.raises(ValueError, match="not a square grid"):
        resize_position_embeddings(torch.randn(199, 8), 325)
    with pytest.raises(ValueError, match="only one has a class token"):
        resize_position_embeddings(torch.randn(196, 8), 325)


def test_decoder_takes_the_text_encoders_weights_and_new_cross_attention(text, tmp_path):
    clip().save_pretrained(tmp_path / "clip")
    source = BertModel.from_pretrained(text)
    model = AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "clip"), text, **heads())
    decoder = model.decoder.bert.state_dict()
    for name, value in source.state_dict().items():
        if not name.startswith("pooler"):
            assert torch.equal(decoder[name], value), name
    new = {name.split(".")[3] for name in decoder.keys() - source.state_dict().keys()}
    assert new == {"crossattention"}
    head = model.decoder.cls.predictions.decoder.weight
    assert head.data_ptr() == model.decoder.bert.embeddings.word_embeddings.weight.data_ptr(), "tied"


def test_a_text_encoder_without_a_tokenizer_is_taken_to_have_berts_special_tokens(text, tmp_path, caplog):
    clip().save_pretrained(tmp_path / "clip")
    config = AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "clip"), text, **heads()).config
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (101, 102, 0)
    assert "No tokenizer beside" in caplog.text


def test_fewer_decoder_layers_and_another_decoder(text, tmp_path):
    clip().save_pretrained(tmp_path / "clip")
    model = AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "clip"), text, decoder_layers=1, **heads())
    assert len(model.decoder.bert.encoder.layer) == 1
    for layers in (0, 3):
        with pytest.raises(ValueError, match=f"decoder_layers={layers}: .* have 2 layers; give 1 to 2"):
            AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "clip"), text, decoder_layers=layers, **heads())
    BertModel(BertConfig(**(WIDTH | {"hidden_size": 40, "vocab_size": 120}))).save_pretrained(tmp_path / "decoder")
    wider = AmifForVisualQuestionAnswering.from_encoders(
        str(tmp_path / "clip"), text, str(tmp_path / "decoder"), **heads()
    )
    assert wider.eval()(torch.randn(1, 3, 32, 32), torch.tensor([[101, 102]])).joint_states.shape[-1] == 40
    BertModel(BertConfig(vocab_size=50, **WIDTH)).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="has 50 tokens"):
        AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "clip"), text, str(tmp_path / "other"), **heads())


def test_fewer_encoder_layers_are_the_first_ones(text, tmp_path):
    """DINOv2's configuration names its stages by depth; the decoder keeps what the text encoder loses."""
    source, pixels = Dinov2Model(Dinov2Config(mlp_ratio=2, **DINOV2)).eval(), torch.randn(2, 3, 56, 56)
    source.save_pretrained(tmp_path / "vision")
    model = AmifForVisualQuestionAnswering.from_encoders(
        str(tmp_path / "vision"), text, vision_layers=1, text_layers=1, **heads()
    ).eval()
    with torch.no_grad():
        first = source(pixels, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(model.model.encode_images(pixels), source.layernorm(first))
        bert = BertModel.from_pretrained(text).eval()
        words = torch.tensor([[101, 7, 8, 102]])
        first = bert(words, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(model.model.encode_texts(words), model.model.text_projection(first))
    assert len(model.decoder.bert.encoder.layer) == 2
    model.save_pretrained(tmp_path / "saved")
    again = AmifForVisualQuestionAnswering.from_pretrained(tmp_path / "saved")
    assert (again.config.vision_config.num_hidden_layers, again.config.text_config.num_hidden_layers) == (1, 1)


def test_types_of_layers_are_shortened_with_them():
    types = ["full_attention", "sliding_attention", "full_attention"]
    config = ModernBertConfig(num_hidden_layers=3, layer_types=types)
    shortened = {"num_hidden_layers": 2, "layer_types": types[:2]}
    assert with_first_layers(config, 2, "text_layers").to_dict() == config.to_dict() | shortened
    assert with_first_layers(config, None, "text_layers").to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda weights: dict(sorted(weights.items())[::2]),
            r"encoder .*text lacks \d+ weights, .* first: copy it again",
        ),
        (lambda weights: {name: weight / 0 for name, weight in weights.items()}, "the weight .* is not finite"),
    ],
)
def test_an_encoder_whose_weights_are_missing_or_not_finite_is_refused(text, change, said):
    file = f"{text}/model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=said):
        load_weights(text, "text encoder")


def test_an_encoder_without_a_pooler_and_with_a_head_is_taken(text):
    BertForMaskedLM(BERT).save_pretrained(text)
    assert type(load_weights(text, "text encoder")) is BertModel


def test_layers_that_an_encoder_does_not_have_are_refused(text, tmp_path):
    ViTModel(ViTConfig(**VISION)).save_pretrained(tmp_path / "vision")
    swin = SwinConfig(image_size=56, patch_size=7, embed_dim=12, depths=[1, 1], num_heads=[2, 2])
    SwinModel(swin).save_pretrained(tmp_path / "swin")
    for name, count in (("vision_layers", 0), ("vision_layers", 3), ("text_layers", 3)):
        with pytest.raises(ValueError, match=rf"{name}={count}: the (vit|bert) weights have 2 layers; give 1 to 2"):
            AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "vision"), text, **{name: count}, **heads())
    with pytest.raises(ValueError, match="'swin' states no num_hidden_layers"):
        AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "swin"), text, vision_layers=1, **heads())


def test_real_encoders_give_their_own_states(models_dir):
    vision, text = str(models_dir / "dinov2-small"), str(models_dir / "minilm-l6")
    model = AmifForVisualQuestionAnswering.from_encoders(vision, text, image_size=224, num_co_attention_layers=1).eval()
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = Dinov2Model.from_pretrained(vision, dtype=torch.float32).eval()(pixels).last_hidden_state
        torch.testing.assert_close(model.model.encode_images(pixels), expected, rtol=1e-3, atol=1e-3)
    assert model.config.hidden_size == 384


def test_an_encoder_without_token_states_is_refused_before_training(text, tmp_path):
    ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])).save_pretrained(tmp_path / "r")
    with pytest.raises(ValueError, match=r"'resnet' has no token states .* use a transformer encoder such as ViT"):
        AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "r"), text, **heads())


@pytest.mark.parametrize(("size", "message"), [(60, "patch size 14; use 56 or 70"), (9, "use 14"), (0, "positive")])
def test_an_image_size_that_patches_do_not_fill_is_refused(text, tmp_path, size, message):
    ViTModel(ViTConfig(**VISION)).save_pretrained(tmp_path / "vision")
    with pytest.raises(ValueError, match=rf"image_size={size} is .*{message}"):
        AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "vision"), text, image_size=size, **heads())


def test_an_encoders_own_size_is_taken_as_it_is(text, tmp_path):
    """Some published encoders leave a rim of pixels to no patch."""
    ViTModel(ViTConfig(**(VISION | {"image_size": 60}))).save_pretrained(tmp_path / "vision")
    for size in (None, 60):
        model = AmifForVisualQuestionAnswering.from_encoders(str(tmp_path / "vision"), text, image_size=size, **heads())
        assert model.model.encode_images(torch.randn(1, 3, 60, 60)).shape[1] == 17
