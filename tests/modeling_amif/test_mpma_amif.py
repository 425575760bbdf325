import pytest
import torch
from pretraining_runs import spread_weights
from remote_loading import check_loads_without_amif
from safetensors.torch import load_file, save_file
from small_models import VOCABULARY, WIDTH, small_config
from torch.testing import assert_close
from transformers import (
    AutoConfig,
    AutoModel,
    BeitConfig,
    CLIPVisionConfig,
    Dinov2Config,
    SiglipVisionConfig,
    ViTConfig,
)

from amif import AmifConfig, AmifForVisualQuestionAnswering, MpmaConfig, MpmaForPreTraining
from amif.modeling_amif.mpma_fusion_amif import MpmaMemory, grid_positions
from amif.training.losses import image_reconstruction_loss, local_alignment, report_reconstruction_loss

REPORTS = torch.tensor([[101, 5, 6, 7, 102, 0], [101, 8, 9, 102, 0, 0], [101, 10, 11, 12, 13, 102]])
HIDDEN_TOKENS = torch.tensor([[0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0]], dtype=torch.bool)
DECODER = {"image_decoder_layers": 1, "image_decoder_size": 16, "image_decoder_heads": 2}
OWN = {"alignment_size": 16, "memory_size": 6, "num_fusion_layers": 1, "mask_token_id": 103, **DECODER}
ENCODERS = [
    ViTConfig(image_size=32, patch_size=8, **WIDTH),
    CLIPVisionConfig(image_size=32, patch_size=8, **WIDTH),
    SiglipVisionConfig(image_size=32, patch_size=8, **WIDTH),
    Dinov2Config(image_size=32, patch_size=8, hidden_size=32, num_attention_heads=4, num_hidden_layers=2),
]


def mpma_config(vision_config=None, **changes):
    changes = OWN | changes
    base = small_config(**({} if vision_config is None else {"vision_config": vision_config}))
    return MpmaConfig(**base.to_dict() | changes)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return spread_weights(MpmaForPreTraining(mpma_config()))


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.ones(3, 16, dtype=torch.bool)
    for row in range(3):
        hidden[row, torch.randperm(16, generator=generator)[:4]] = False
    return {
        "pixel_values": torch.randn(3, 3, 32, 32, generator=generator),
        "input_ids": REPORTS % VOCABULARY,
        "attention_mask": (REPORTS > 0).long(),
        "hidden_patches": hidden,
        "hidden_tokens": HIDDEN_TOKENS,
    }


def losses(output, inputs, negatives="in_pair"):
    ids, hidden = inputs["input_ids"], inputs["hidden_tokens"]
    return {
        "image": image_reconstruction_loss(output.patch_predictions, inputs["pixel_values"], inputs["hidden_patches"]),
        "report": report_reconstruction_loss(output.token_logits, ids, hidden),
        "global": (output.image_embeds[0] @ output.text_embeds.T / 0.07).log_softmax(-1).diag().mean(),
        "local": local_alignment(output.image_tokens, output.text_tokens, output.text_token_mask, 0.1, negatives),
    }


def with_changed_patches(inputs, hidden):
    """New pixels in the hidden, or in the visible patches."""
    noise = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    chosen = inputs["hidden_patches"] if hidden else ~inputs["hidden_patches"]
    mask = chosen.view(3, 1, 4, 4).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return inputs | {"pixel_values": torch.where(mask, noise, inputs["pixel_values"])}


# 3.6.1 and 3.6.2: what is hidden is not read


@torch.no_grad()
@pytest.mark.parametrize("vision_config", ENCODERS, ids=lambda config: config.model_type)
def test_visible_patches_are_read_as_if_the_others_were_masked_from_attention(vision_config, inputs):
    """Against the whole sequence with hidden keys masked in every block: an encoder of its own, place by place."""
    torch.manual_seed(0)
    encoders = spread_weights(MpmaForPreTraining(mpma_config(vision_config))).model
    visible = (~inputs["hidden_patches"]).nonzero()[:, 1].view(3, 4)
    states = encoders.encode_visible(inputs["pixel_values"], visible)
    everything = encoders.encode_visible(inputs["pixel_values"], torch.arange(16).expand(3, 16))
    assert_close(everything, encoders.encode_images(inputs["pixel_values"]))
    extra = everything.shape[1] - 16
    assert states.shape[1] == extra + 4
    seen = torch.cat([torch.ones(3, extra, dtype=torch.bool), ~inputs["hidden_patches"]], dim=1)
    attend = torch.nn.functional.scaled_dot_product_attention

    def only_seen(query, key, value, *args, **kwargs):
        return attend(query, key, value, attn_mask=seen[:, None, None], scale=kwargs.get("scale"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", only_seen)
        masked = encoders.encode_images(inputs["pixel_values"])
    assert_close(states, masked[seen].view(states.shape), atol=1e-5, rtol=1e-4)
    assert not encoders.vision_model.embeddings._forward_hooks, "the encoder is left as it was"


@torch.no_grad()
def test_pixels_of_hidden_patches_change_only_the_images_target(model, inputs):
    output, changed = model(**inputs), model(**with_changed_patches(inputs, hidden=True))
    for name, value in output.items():
        assert torch.equal(value, changed[name]), name
    before = losses(output, inputs)
    assert losses(changed, with_changed_patches(inputs, hidden=True))["image"] != before["image"]
    seen = model(**with_changed_patches(inputs, hidden=False))
    assert not torch.equal(seen.token_logits, output.token_logits)


@torch.no_grad()
def test_hidden_words_change_only_the_reports_target(model, inputs):
    output = model(**inputs)
    others = inputs | {"input_ids": torch.where(HIDDEN_TOKENS, 77, inputs["input_ids"])}
    changed = model(**others)
    for name, value in output.items():
        assert torch.equal(value, changed[name]), name
    assert losses(changed, others)["report"] != losses(output, inputs)["report"]
    assert output.text_token_mask.tolist() == [
        [False, True, False, False, False, False],
        [False, False, True, False, False, False],
        [False, True, False, True, False, False],
    ]


@torch.no_grad()
def test_without_anything_hidden_and_with_a_second_pass_whole_studies_are_aligned(model, inputs):
    whole = {name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")}
    plain, second = model(**whole), model(**inputs, align_full=True)
    for name in ("image_embeds", "text_embeds", "image_tokens", "text_tokens", "text_token_mask"):
        assert_close(second[name], plain[name], msg=name)
    assert_close(second.token_logits, model(**inputs).token_logits)
    assert_close(plain.image_embeds[0], model.embed_images(inputs["pixel_values"]))
    assert_close(plain.text_embeds, model.embed_texts(inputs["input_ids"], inputs["attention_mask"]))
    assert len(plain.token_logits) == 0


@torch.no_grad()
def test_patches_come_back_to_their_places_in_whatever_order_they_are_decoded(model, inputs):
    places = model._visible_places(inputs["hidden_patches"], inputs["pixel_values"])
    assert [row.tolist() for row in places] == [(~row).nonzero()[:, 0].tolist() for row in inputs["hidden_patches"]]
    states, order = torch.randn(3, 1 + places.shape[1], 32), torch.randperm(places.shape[1])
    shuffled = torch.cat([states[:, :1], states[:, 1:][:, order]], dim=1)
    assert_close(model.image_decoder(shuffled, places[:, order]), model.image_decoder(states, places))


# 3.6.5: memory


def memory_of(rows, heads=1, top_k=0):
    """A memory with identity projections."""
    width = rows.shape[1]
    config = mpma_config(
        hidden_size=width, num_attention_heads=heads, memory_size=len(rows), memory_top_k=top_k, intermediate_size=4
    )
    memory = MpmaMemory(config)
    with torch.no_grad():
        memory.memory.copy_(rows)
        for part in (memory.query, memory.key, memory.value, memory.output):
            part.weight.copy_(torch.eye(width))
            part.bias.zero_()
    return memory


@torch.no_grad()
def test_memory_known_value():
    read = memory_of(torch.eye(2))(torch.tensor([[[2.0, 0.0]]]))
    assert_close(read, torch.tensor([[[0.80443, 0.19557]]]), atol=1e-5, rtol=0)


@torch.no_grad()
def test_memory_is_a_set_of_rows_of_which_only_the_best_may_be_read():
    rows, states = torch.randn(7, 8), torch.randn(2, 5, 8)
    dense = memory_of(rows, heads=2)(states)
    assert_close(memory_of(rows, heads=2, top_k=7)(states), dense)
    assert_close(memory_of(rows[torch.randperm(7)], heads=2)(states), dense)
    best = (states @ rows.T).argmax(dim=-1)
    assert_close(memory_of(rows, top_k=1)(states), rows[best])
    assert_close(memory_of(rows[:1].expand(7, -1), heads=2)(states), rows[0].expand(2, 5, -1))


def test_both_modalities_read_the_same_memory(model, inputs):
    calls = []
    handle = model.fusion.memory.register_forward_hook(lambda module, args, out: calls.append((module, out)))
    model(**inputs)
    handle.remove()
    assert len(calls) == 2
    assert calls[0][0] is calls[1][0]
    assert sum(name.endswith("memory.memory") for name, _ in model.named_parameters()) == 1
    for _, read in calls:
        (gradient,) = torch.autograd.grad(read.square().sum(), model.fusion.memory.memory, retain_graph=True)
        assert gradient.norm() > 0


# 3.6.6: what reaches what


@torch.no_grad()
@pytest.mark.parametrize(("fusion", "sees"), [("attention", True), ("addition", True), ("none", False)])
def test_the_report_is_reconstructed_from_the_image_unless_fusion_is_off(inputs, fusion, sees):
    torch.manual_seed(0)
    model = spread_weights(MpmaForPreTraining(mpma_config(fusion=fusion)))
    image, text = torch.randn(3, 5, 32), torch.randn(3, 6, 32)
    fused = model.fusion(image, text, inputs["attention_mask"])
    blank = model.fusion(torch.zeros_like(image), text, inputs["attention_mask"])
    assert torch.equal(fused, blank) != sees
    noisy = torch.where(inputs["attention_mask"][..., None] == 1, text, 99.0)
    valid = inputs["attention_mask"].bool()
    assert_close(model.fusion(image, noisy, inputs["attention_mask"])[valid], fused[valid])


def reached(model, loss):
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()}


def test_gradients_of_each_reconstruction(model, inputs):
    output = model(**inputs)
    terms = losses(output, inputs)
    of_report = reached(model, terms["report"])
    assert any(name.startswith("model.vision_model") for name in of_report)
    assert "fusion.memory.memory" in of_report
    assert not any(name.startswith("image_decoder") for name in of_report)
    of_image = reached(model, terms["image"])
    assert any(name.startswith("model.vision_model") for name in of_image)
    assert not any("text" in name or name.startswith(("fusion", "report")) for name in of_image)
    everything = of_report | of_image | reached(model, terms["global"] + terms["local"] + output.temperatures.sum())
    left = {name for name, _ in model.named_parameters()} - everything
    # A key's bias moves all scores of a row alike, rows without a gradient are tokens that do not occur.
    assert {name for name in left if not name.endswith("key.bias")} == set()


# 3.6.7: other pairs


@torch.no_grad()
def test_another_pair_changes_a_pairs_outputs_in_nothing(model, inputs):
    output = model(**inputs)
    alone = model(**{name: value[:1] for name, value in inputs.items()})
    for name in ("image_tokens", "text_tokens", "patch_predictions"):
        assert_close(alone[name], output[name][:1], atol=1e-5, rtol=1e-4)
    assert_close(alone.token_logits, output.token_logits[:2], atol=1e-5, rtol=1e-4)
    assert losses(output, inputs)["local"] != losses(output, inputs, "batch")["local"]


# Configuration, checkpoints


@torch.no_grad()
def test_without_memory_there_is_none_and_depth_is_the_same(inputs):
    model = MpmaForPreTraining(mpma_config(memory_size=0)).eval()
    assert model.fusion.memory is None
    assert len(model.fusion.layers) == 1
    assert model(**inputs).token_logits.isfinite().all()


def test_grid_positions_tell_places_apart_and_neighbours_are_alike():
    positions = grid_positions(36, 32)
    assert positions.shape == (36, 32)
    distance = torch.cdist(positions, positions) + 99 * torch.eye(36)
    nearest = distance.argmin(dim=1)
    for place in range(36):
        rows, columns = divmod(place, 6), divmod(int(nearest[place]), 6)
        assert abs(rows[0] - columns[0]) + abs(rows[1] - columns[1]) == 1


def test_impossible_configurations_and_inputs_are_refused(model, inputs):
    beit = BeitConfig(image_size=32, patch_size=8, **WIDTH)
    for changes, message in (
        ({"fusion": "sum"}, "fusion='sum'"),
        ({"memory_top_k": 7}, "memory_top_k=7"),
        ({"image_decoder_size": 18}, "image_decoder_size=18"),
        ({"image_pooling": 2}, "image_pooling must be 1"),
        ({"vision_config": beit}, "'beit' cannot read a part"),
    ):
        with pytest.raises(ValueError, match=message):
            mpma_config(**changes)
    with pytest.raises(ValueError, match="2 images and 3 reports"):
        model(**(inputs | {"pixel_values": inputs["pixel_values"][:2]}))
    uneven = inputs["hidden_patches"].clone()
    uneven[0] = True
    uneven[0, 0] = False
    with pytest.raises(ValueError, match="equally many"):
        model(**(inputs | {"hidden_patches": uneven}))


@torch.no_grad()
def test_saved_and_loaded_through_the_auto_classes(model, inputs, tmp_path):
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (type(config), config.memory_size) == (MpmaConfig, 6)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is MpmaForPreTraining
    for name, value in loaded(**inputs).items():
        assert torch.equal(value, model(**inputs)[name]), name


def test_what_a_checkpoint_lacks_starts_as_in_a_new_model(model, tmp_path):
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    bare = ("memory.memory", "mask_token", "decoder.position_embeddings", "report_head.bias", "log_temperatures")
    kept = {name: weight for name, weight in weights.items() if not name.endswith(bare)}
    assert len(kept) == len(weights) - len(bare)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = AutoModel.from_pretrained(tmp_path)
    assert_close(loaded.temperatures, torch.full((1,), 0.07))
    assert_close(loaded.image_decoder.position_embeddings.data, grid_positions(16, 16))
    assert not loaded.report_head.bias.any()
    assert 0.5 * 32**-0.5 < loaded.fusion.memory.memory.std() < 1.5 * 32**-0.5
    assert 0 < loaded.image_decoder.mask_token.abs().max() < 0.1


def test_checkpoint_loads_where_amif_is_not_installed(model, inputs, tmp_path):
    check_loads_without_amif(model, inputs, "token_logits", tmp_path)


@torch.no_grad()
def test_question_answering_takes_encoders_and_projections_over(model, tmp_path):
    model.save_pretrained(tmp_path)
    answering = AmifForVisualQuestionAnswering.from_pretraining(str(tmp_path))
    assert type(answering.config) is AmifConfig
    assert not hasattr(answering.config, "memory_size")
    weights = answering.model.state_dict()
    for name, weight in model.model.state_dict().items():
        assert torch.equal(weights[name], weight), name


def test_from_real_encoders(models_dir):
    vision, text = str(models_dir / "dinov2-small"), str(models_dir / "minilm-l6")
    model = MpmaForPreTraining.from_encoders(vision, text, image_size=56, **DECODER)
    assert model.config.mask_token_id == 103
    assert model.num_patches == 16
