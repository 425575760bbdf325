import json

import pytest
import torch
from remote_loading import check_loads_without_amif
from safetensors.torch import load_file, save_file
from small_models import WIDTH, small_config, small_model
from torch.testing import assert_close
from transformers import AutoModel, BertConfig, BertModel, BertTokenizer, SiglipVisionConfig, ViTConfig, ViTModel

from amif import AgaForPreTraining, AmifForPreTraining, AmifForVisualQuestionAnswering, MpmaForPreTraining
from amif.modeling_amif.co_attention_amif import IMAGE, TEXT
from amif.training.losses import transport_cost

REPORTS = torch.tensor(
    [[101, 5, 6, 7, 102, 0], [101, 8, 9, 102, 0, 0], [101, 10, 11, 12, 13, 102], [101, 14, 102, 0, 0, 0]]
)
HARD_NEGATIVES = torch.tensor([[1, 2, 3], [0, -1, 2], [3, 0, 1], [-1, 1, 0]])


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = AmifForPreTraining(small_config(num_co_attention_layers=2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    return {
        "pixel_values": torch.randn(8, 3, 32, 32, generator=generator),
        "input_ids": REPORTS % 120,
        "attention_mask": (REPORTS > 0).long(),
        "hard_negatives": HARD_NEGATIVES,
    }


@torch.no_grad()
def test_embeddings_are_unit_vectors_of_the_projected_class_tokens(model, inputs):
    output = model(**inputs)
    states = model.model.vision_model(inputs["pixel_values"]).last_hidden_state[:, 0]
    expected = torch.nn.functional.normalize(model.model.image_projection(states), dim=-1)
    assert_close(output.image_embeds, torch.stack([expected[:4], expected[4:]]))
    assert_close(output.image_embeds[1], model.embed_images(inputs["pixel_values"][4:]))
    assert_close(output.text_embeds, model.embed_texts(inputs["input_ids"], inputs["attention_mask"]))
    assert_close(output.text_embeds.norm(dim=-1), torch.ones(4))


@torch.no_grad()
def test_image_text_negatives_alone_are_matched_as_beside_the_other_kinds(model, inputs):
    all_kinds = model(**inputs)
    alone = model(**(inputs | {"hard_negatives": HARD_NEGATIVES[:, :1]}))
    assert_close(alone.matching_logits, all_kinds.matching_logits[:1])
    assert_close(alone.fused_text_states, all_kinds.fused_text_states)
    assert not torch.allclose(all_kinds.matching_logits[0], all_kinds.matching_logits[1])


@torch.no_grad()
@pytest.mark.parametrize("cls", [AmifForPreTraining, AgaForPreTraining])
def test_in_mode_mean_embeddings_are_means_of_patches_and_of_words(cls, inputs):
    torch.manual_seed(0)
    model = cls(cls.config_class(**small_config(pooling_mode="mean").to_dict())).eval()
    pixels, ids, mask = inputs["pixel_values"][:4], inputs["input_ids"], inputs["attention_mask"]
    output = model(pixel_values=pixels, input_ids=ids, attention_mask=mask)
    patches = model.model.project_images(model.model.encode_images(pixels))[:, 1:]
    words = [model.model.encode_texts(row[row > 0][None] % 120)[0, 1:-1] for row in REPORTS]
    images, texts = (
        torch.stack([torch.nn.functional.normalize(states, dim=-1).mean(dim=0) for states in items])
        for items in (patches, words)
    )
    assert_close(output.image_embeds[0], torch.nn.functional.normalize(images, dim=-1))
    assert_close(output.text_embeds, torch.nn.functional.normalize(texts, dim=-1))
    assert_close(model.embed_images(pixels), output.image_embeds[0])
    assert_close(model.embed_texts(ids, mask), output.text_embeds)
    assert_close(model.embed_texts(ids[2:3]), output.text_embeds[2:3])
    assert model.embed_texts(torch.tensor([[101 % 120, 102]])).count_nonzero() == 0
    # Up to the lengths of the means, two are as alike as any plan of equal shares finds their tokens.
    plan_of_equal_shares = 1 - transport_cost(patches[:1], words[0][None]).mean()
    similarity = (output.image_embeds[0, 0] @ output.text_embeds[0]) * images[0].norm() * texts[0].norm()
    assert_close(similarity, plan_of_equal_shares)


@torch.no_grad()
@pytest.mark.parametrize("pooling_mode", ["cls", "mean"])
def test_each_pair_is_fused_as_if_it_were_alone(model, inputs, pooling_mode):
    """Pair by pair through the plain modules, without padding, against the three batched passes."""
    model.config.pooling_mode = pooling_mode
    output = model(**inputs)

    def pooled(states, last=None):
        return states[:, 0] if pooling_mode == "cls" else states[:, 1:last].mean(dim=1)

    images = model.model.project_images(model.model.encode_images(inputs["pixel_values"]))
    texts = [model.model.encode_texts(row[row > 0][None] % 120) for row in REPORTS]

    def expected(kind, row, other):
        if kind == "image_text":
            text, image, _ = model.model.co_attention(texts[other], images[row][None])
            pair = pooled(image), pooled(text, -1)
        elif kind == "image_image":
            second = images[4 + other]
            pair = [pooled(s) for s in model.model.co_attention.fuse_alike(IMAGE, images[row][None], second[None])]
        else:
            pair = [pooled(s, -1) for s in model.model.co_attention.fuse_alike(TEXT, texts[row], texts[other])]
        return model.matching_head(torch.cat(list(pair), dim=-1))[0]

    for kind, name in enumerate(("image_text", "image_image", "text_text")):
        for row in range(4):
            assert_close(output.matching_logits[kind, row], expected(name, row, row), atol=1e-5, rtol=1e-4)
            negative = int(HARD_NEGATIVES[row, kind])
            if negative >= 0:
                assert_close(output.matching_logits[kind, 4 + row], expected(name, row, negative), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_fused_states_are_the_base_models_joint_states(model, inputs):
    output = model(**inputs)
    joint = model.model(inputs["pixel_values"][:4], inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    assert_close(torch.cat([output.fused_text_states, output.fused_image_states], dim=1), joint)


@torch.no_grad()
def test_masks_keep_words_and_patches(model, inputs):
    output = model(**inputs)
    assert output.text_token_mask.int().tolist() == [
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 0, 0, 0, 0],
    ]
    assert output.image_token_mask[0].tolist() == [False] + [True] * 16


@torch.no_grad()
def test_two_of_a_kind_read_each_other_through_one_stack(model):
    """Swapping the two swaps the results; each layer reads the other's states of the layer before; padding is mute."""
    co_attention = model.model.co_attention
    first, second = torch.randn(2, 3, 32), torch.randn(2, 5, 32)
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    a, b = co_attention.fuse_alike(TEXT, first, second, None, mask)
    swapped_b, swapped_a = co_attention.fuse_alike(TEXT, second, first, mask, None)
    assert_close((a, b), (swapped_a, swapped_b))
    noisy = torch.where(mask[..., None] == 1, second, torch.randn(2, 5, 32) * 9)
    assert_close(co_attention.fuse_alike(TEXT, first, noisy, None, mask)[0], a)
    x, y = (states[:1] + co_attention.modality_embedding.weight[TEXT] for states in (first, second[:, :4]))
    for layer in co_attention.text_layers:
        x, y = layer(x, y, None, None)[0], layer(y, x, None, None)[0]
    assert_close((a[:1], b[:1, :4]), (x, y), atol=1e-5, rtol=1e-4)
    images = co_attention.fuse_alike(IMAGE, first, second, None, mask)
    assert not torch.allclose(images[0], a)


@torch.no_grad()
def test_the_other_studies_of_a_batch_change_nothing(model, inputs):
    output = model(**inputs)
    rows = torch.tensor([0, 1])
    pair = {
        "pixel_values": inputs["pixel_values"][[0, 1, 4, 5]],
        "input_ids": inputs["input_ids"][rows, :5],
        "attention_mask": inputs["attention_mask"][rows, :5],
        "hard_negatives": torch.tensor([[1, -1, -1], [0, -1, -1]]),
    }
    alone = model(**pair)
    assert_close(alone.image_embeds, output.image_embeds[:, :2], atol=1e-5, rtol=1e-4)
    assert_close(alone.text_embeds, output.text_embeds[:2], atol=1e-5, rtol=1e-4)
    assert_close(alone.matching_logits[0], output.matching_logits[0, [0, 1, 4, 5]], atol=1e-5, rtol=1e-4)


def test_the_twin_of_a_report_is_another_reading_of_it_while_training(model, inputs):
    """With dropout a positive pair of reports is not twice the same states, so identity does not give it away."""
    read = []
    model.model.text_model.register_forward_hook(lambda *call: read.append(call[-1].last_hidden_state))
    model.train()(**inputs)
    assert len(read) == 2
    assert not torch.allclose(read[0], read[1])


def test_gradients_reach_every_weight_that_a_stage_trains(model, inputs):
    output = model(**inputs)
    loss = (output.image_embeds[0] @ output.text_embeds.T / output.temperatures[0]).diag().sum()
    (loss + output.matching_logits.sum() + output.fused_image_states.square().mean()).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    assert model.log_temperatures.grad[0] != 0


def test_numbers_of_images_must_fit_the_reports(model, inputs):
    with pytest.raises(ValueError, match="7 images and 4 reports"):
        model(**(inputs | {"pixel_values": inputs["pixel_values"][:7]}))


@torch.no_grad()
def test_without_a_class_token_the_mean_of_the_patches_stands_for_the_image(inputs):
    model = AmifForPreTraining(small_config(vision_config=SiglipVisionConfig(image_size=32, patch_size=8, **WIDTH)))
    output = model.eval()(**inputs)
    states = model.model.vision_model(inputs["pixel_values"]).last_hidden_state
    expected = torch.nn.functional.normalize(model.model.image_projection(states).mean(dim=1), dim=-1)
    assert_close(output.image_embeds.flatten(0, 1), expected)
    assert output.image_token_mask.all()


@torch.no_grad()
def test_saved_and_loaded_through_the_auto_class(model, inputs, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is AmifForPreTraining
    assert torch.equal(loaded(**inputs).matching_logits, model(**inputs).matching_logits)
    assert torch.equal(loaded.temperatures, model.temperatures)


def test_temperatures_start_at_the_papers_value_also_where_a_checkpoint_lacks_them(model, tmp_path):
    assert_close(AmifForPreTraining(small_config()).temperatures, torch.full((3,), 0.07))
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["log_temperatures"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert_close(AutoModel.from_pretrained(tmp_path).temperatures, torch.full((3,), 0.07))


def test_checkpoint_loads_where_amif_is_not_installed(model, inputs, tmp_path):
    check_loads_without_amif(model, inputs, "matching_logits", tmp_path)


@torch.no_grad()
def test_question_answering_starts_from_pretraining(model, inputs, tmp_path):
    model.save_pretrained(tmp_path)
    answering = AmifForVisualQuestionAnswering.from_pretraining(str(tmp_path), decoder_layers=1, knowledge_fusion="add")
    for name, weight in model.model.state_dict().items():
        assert torch.equal(answering.model.state_dict()[name], weight), name
    decoder = answering.decoder.base_model
    assert torch.equal(
        decoder.embeddings.word_embeddings.weight, model.model.text_model.embeddings.word_embeddings.weight
    )
    assert len(decoder.encoder.layer) == 1
    assert answering.config.knowledge_fusion == "add"
    answering.save_pretrained(tmp_path / "vqa")
    assert json.loads((tmp_path / "vqa/config.json").read_text())["architectures"] == ["AmifForVisualQuestionAnswering"]
    reloaded = AutoModel.from_pretrained(tmp_path / "vqa")
    assert type(reloaded) is AmifForVisualQuestionAnswering
    question = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    pixels = inputs["pixel_values"][:4]
    assert torch.equal(reloaded(pixels, **question).logits, answering.eval()(pixels, **question).logits)


def test_a_new_co_attention_leaves_the_old_one_and_nothing_else_behind(model, tmp_path):
    model.save_pretrained(tmp_path)
    answering = AmifForVisualQuestionAnswering.from_pretraining(str(tmp_path), new_co_attention=True)
    trained, weights = model.model.state_dict(), answering.model.state_dict()
    equal = {name for name, weight in trained.items() if torch.equal(weights[name], weight)}
    assert equal == {name for name in trained if "co_attention" not in name}
    assert len(answering.model.co_attention.text_layers) == len(model.model.co_attention.text_layers)


def test_pretraining_at_another_image_size_and_from_no_pretraining(model, tmp_path):
    model.save_pretrained(tmp_path / "pretrained")
    larger = AmifForVisualQuestionAnswering.from_pretraining(str(tmp_path / "pretrained"), image_size=48)
    assert larger.model.vision_model.embeddings.position_embeddings.shape[1] == 1 + 36
    with pytest.raises(ValueError, match="image_size=44 is not a multiple of the patch size 8; use 40 or 48"):
        AmifForVisualQuestionAnswering.from_pretraining(str(tmp_path / "pretrained"), image_size=44)
    small_model().save_pretrained(tmp_path / "vqa")
    with pytest.raises(ValueError, match="holds AmifForVisualQuestionAnswering"):
        AmifForVisualQuestionAnswering.from_pretraining(str(tmp_path / "vqa"))


@pytest.mark.parametrize("model_class", [AmifForPreTraining, AgaForPreTraining, MpmaForPreTraining])
def test_answers_begin_and_end_with_the_text_encoders_own_tokens(model_class, tmp_path):
    vision, text, pretrained = (str(tmp_path / name) for name in ("vision", "text", "pretrained"))
    ViTModel(ViTConfig(image_size=32, patch_size=8, **WIDTH)).save_pretrained(vision)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "mass"]
    BertModel(BertConfig(vocab_size=len(words), **WIDTH)).save_pretrained(text)
    BertTokenizer(vocab={word: place for place, word in enumerate(words)}).save_pretrained(text)
    layers = {"vision_layers": 1, "text_layers": 1}
    model_class.from_encoders(vision, text, **layers, num_attention_heads=4).save_pretrained(pretrained)
    config = AmifForVisualQuestionAnswering.from_pretraining(pretrained).config
    assert config.vision_config.num_hidden_layers == config.decoder_config.num_hidden_layers == 1
    with pytest.raises(ValueError, match=r"decoder_layers=2: .* give 1 to 1, or other weights"):
        AmifForVisualQuestionAnswering.from_pretraining(pretrained, decoder_layers=2)
    whole = AmifForVisualQuestionAnswering.from_pretraining(pretrained, decoder=text, decoder_layers=2)
    assert len(whole.decoder.bert.encoder.layer) == 2
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (2, 3, 0)


def test_from_real_encoders(models_dir):
    vision, text = str(models_dir / "dinov2-small"), str(models_dir / "minilm-l6")
    model = AmifForPreTraining.from_encoders(vision, text, image_size=56, num_co_attention_layers=1)
    own = AutoModel.from_pretrained(text, dtype=torch.float32)
    assert torch.equal(
        model.model.text_model.encoder.layer[5].output.dense.weight, own.encoder.layer[5].output.dense.weight
    )
    assert model.dtype == torch.float32
