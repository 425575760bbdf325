"""Towers of open_clip models: the states that open_clip itself computes, at random weights."""

import shutil
import sys
from pathlib import Path

import open_clip
import PIL.Image
import pytest
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip_folders import CLIP_TEXT, OWN, TIMM, save_biomedclip, save_open_clip
from small_models import WIDTH
from transformers import BertConfig

from amif import AmifForPreTraining, AmifForVisualQuestionAnswering, AmifProcessor
from amif.modeling_amif.encoder_loading_amif import (
    load_text_encoder,
    load_vision_encoder,
    resize_position_embeddings,
)
from amif.modeling_amif.open_clip_amif import TIMM_HEADS, TIMM_NAME, tokenizer_source
from amif.training.processors import encoder_processor


@pytest.fixture(scope="module")
def biomedclip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("biomedclip")
    return f"open_clip:{folder}", save_biomedclip(folder, BertConfig(vocab_size=40, **WIDTH), safe=False)


@torch.no_grad()
def assert_same_image_states(name, model):
    pixels = torch.randn(2, 3, 224, 224)
    states = load_vision_encoder(name).eval()(pixels).last_hidden_state
    torch.testing.assert_close(states, model.visual.trunk.forward_features(pixels), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def assert_same_word_states(name, model, vocabulary=40):
    words = torch.randint(5, vocabulary, (2, 12))
    words[1, 8:] = model.text.config.pad_token_id
    inputs = {"input_ids": words, "attention_mask": (words != model.text.config.pad_token_id).long()}
    states = load_text_encoder(name).eval()(**inputs).last_hidden_state
    torch.testing.assert_close(states, model.text.transformer(**inputs).last_hidden_state, atol=1e-5, rtol=1e-5)


def test_towers_of_biomedclips_layout_give_open_clips_states(biomedclip):
    assert_same_image_states(*biomedclip)
    assert_same_word_states(*biomedclip)


@pytest.mark.slow
def test_towers_of_biomedclips_size_give_open_clips_states(tmp_path):
    vision = TIMM | {"timm_model_name": "vit_base_patch16_224", "timm_proj": "linear"}
    model = save_biomedclip(tmp_path, BertConfig(), vision)
    assert_same_image_states(f"open_clip:{tmp_path}", model)
    assert_same_word_states(f"open_clip:{tmp_path}", model, vocabulary=30_522)


@pytest.fixture(scope="module", params=["quick_gelu", "norm_kwargs"])
def plain(request, tmp_path_factory):
    """An open_clip model of its own ViT and text transformer."""
    folder, quick = tmp_path_factory.mktemp("plain"), request.param == "quick_gelu"
    vision = OWN if quick else OWN | {"norm_kwargs": {"eps": 1e-2}, "mlp_ratio": 3.0}
    return f"open_clip:{folder}", save_open_clip(folder, vision, CLIP_TEXT, quick_gelu=quick)


@torch.no_grad()
def test_towers_of_plain_vits_give_open_clips_normalised_tokens(plain, biomedclip):
    name, model = plain
    text = biomedclip[0]
    encoders = AmifForPreTraining.from_encoders(name, text, num_co_attention_layers=1).eval().model
    pixels = torch.randn(2, 3, 32, 32)
    expected = model.visual.ln_post(model.visual.transformer(model.visual._embeds(pixels)))
    torch.testing.assert_close(encoders.encode_images(pixels), expected, atol=1e-5, rtol=1e-5)


def test_heads_of_plain_vits_are_timms():
    plain = [name for name in timm.list_models("vit_*") if TIMM_NAME.fullmatch(name)]
    assert len(plain) > 15
    for name in plain:
        with torch.device("meta"):
            block = timm.create_model(name, depth=1).blocks[0]
        assert block.attn.num_heads == TIMM_HEADS[TIMM_NAME.fullmatch(name)["size"]], name
        assert (block.norm1.eps, type(block.mlp.act)) == (1e-6, torch.nn.GELU), name


def test_a_saved_model_of_both_towers_needs_no_open_clip(biomedclip, tmp_path, monkeypatch):
    name, source = biomedclip
    for module in ("open_clip", "timm"):
        monkeypatch.setitem(sys.modules, module, None)
    sizes = {"image_size": 64, "vision_layers": 1, "num_co_attention_layers": 1}
    model = AmifForVisualQuestionAnswering.from_encoders(name, name, **sizes).eval()
    assert (model.config.decoder_start_token_id, model.config.eos_token_id, model.config.pad_token_id) == (2, 3, 0)
    encoder_processor(name, name, 64).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    loaded = AmifForVisualQuestionAnswering.from_pretrained(tmp_path)
    processor = AmifProcessor.from_pretrained(tmp_path)
    positions = loaded.model.vision_model.get_parameter("embeddings.position_embeddings")
    torch.testing.assert_close(positions, resize_position_embeddings(source.visual.trunk.pos_embed, 17))
    inputs = processor(images=PIL.Image.new("RGB", (80, 60), "grey"), text="mass in the lung")
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)


def test_images_and_words_are_prepared_as_by_open_clip(biomedclip):
    """At its own size, where neither cuts a square image."""
    name, model = biomedclip
    processor = encoder_processor(name, name)
    assert processor.image_processor.resample == 3, "bicubic"
    image = PIL.Image.effect_noise((224, 224), 60).convert("RGB")
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    torch.testing.assert_close(processor(images=image)["pixel_values"][0], transform(image))
    words = open_clip.get_tokenizer(name.replace("open_clip:", "local-dir:"))(["mass in the left lung"])[0]
    assert processor(text="mass in the left lung")["input_ids"][0].tolist() == words[words > 0].tolist()


def test_a_bert_whose_configuration_is_out_of_reach_is_told_from_its_weights(tmp_path, caplog):
    bert = BertConfig(vocab_size=40, hidden_size=768, num_attention_heads=12, num_hidden_layers=1, intermediate_size=32)
    model = save_biomedclip(tmp_path, bert, OWN)
    shutil.rmtree(tmp_path / "bert")
    name = f"open_clip:{tmp_path}"
    assert_same_word_states(name, model)
    assert "bert cannot be read: the text tower is taken to have 12 heads, as BERTs of 768" in caplog.text
    assert tokenizer_source(name) == str(tmp_path)


def no_config(folder):
    save_biomedclip(folder, BertConfig(vocab_size=40, **WIDTH), OWN)
    shutil.rmtree(folder / "bert")


def no_encoder(folder):
    save_biomedclip(folder, BertConfig(vocab_size=40, **WIDTH), OWN)
    (folder / "bert" / "config.json").write_text('{"model_type": "blip_text_model"}')


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (lambda folder: None, FileNotFoundError, r"holds no open_clip_config\.json: give the folder of an open_clip"),
        (
            lambda folder: (folder / "open_clip_config.json").write_text("[]"),
            ValueError,
            "has no model_cfg with vision",
        ),
        (
            lambda folder: save_open_clip(folder, OWN, CLIP_TEXT),
            ValueError,
            "is CLIP's own, .* BERT-like",
        ),
        (no_config, FileNotFoundError, "is a .*bert, whose config.json cannot be read and whose weights do not tell"),
        (no_encoder, ValueError, "blip_text_model, is no encoder: choose another"),
    ],
    ids=["no files", "no configuration", "CLIP's text", "unknown heads", "no encoder"],
)
def test_text_towers_that_cannot_be_taken(tmp_path, made, error, said):
    made(tmp_path)
    with pytest.raises(error, match=said):
        load_text_encoder(f"open_clip:{tmp_path}")


@pytest.mark.parametrize(
    ("vision", "said"),
    [
        (
            TIMM | {"timm_model_name": "test_vit", "image_size": 160},
            "is timm's test_vit, no plain ViT",
        ),
        (TIMM | {"timm_model_name": "test_convnext", "image_size": 160}, "is timm's test_convnext, no plain ViT"),
        (OWN | {"no_ln_pre": True}, "is no plain ViT of open_clip's"),
        (OWN | {"ls_init_value": 0.1}, "is no plain ViT of open_clip's"),
        (OWN | {"layers": [1, 1, 1, 1], "width": 8}, "is no plain ViT of open_clip's"),
    ],
    ids=str,
)
def test_image_towers_that_cannot_be_taken(tmp_path, vision, said):
    save_open_clip(tmp_path, vision, CLIP_TEXT)
    with pytest.raises(ValueError, match=said):
        load_vision_encoder(f"open_clip:{tmp_path}")


def test_weights_that_have_no_place_are_named(biomedclip, tmp_path):
    """As where timm normalises the mean of the patches, not each of them."""
    shutil.copytree(biomedclip[0].removeprefix("open_clip:"), tmp_path, dirs_exist_ok=True)
    file = tmp_path / "open_clip_pytorch_model.bin"
    weights = torch.load(file)
    weights["visual.trunk.fc_norm.weight"] = weights.pop("visual.trunk.norm.weight")
    torch.save(weights, file)
    with pytest.raises(ValueError, match=r"is no vit of transformers: 2 weights differ, fc_norm\.weight first"):
        load_vision_encoder(f"open_clip:{tmp_path}")


def test_weights_that_could_run_code_are_not_read(tmp_path):
    save_open_clip(tmp_path, OWN, CLIP_TEXT, safe=False)
    torch.save({"visual.proj": Path}, tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"weights of .* cannot be read"):
        load_vision_encoder(f"open_clip:{tmp_path}")
