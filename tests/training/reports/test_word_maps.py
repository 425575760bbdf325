import numpy as np
import ot
import pytest
import torch
from PIL import Image
from small_models import small_config, small_model, small_processor

from amif import AmifForPreTraining
from amif.training.evaluation.localization import patches_in_box
from amif.training.losses import transport_cost, transport_plan
from amif.training.reports.map_figures import MappedStudy, word_map_figure
from amif.training.reports.word_maps import (
    AMBER,
    draw_map,
    maps_of_words,
    phrase_map,
    phrase_places,
    view_maps,
    word_maps,
    words_read,
)

QUESTION = "Is there a mass in the Left lung?"

REPORT = "Left lung: a mass. There is a mass in the right lung"


@pytest.fixture(scope="module")
def image():
    values = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    return Image.fromarray(values).convert("RGB")


@pytest.fixture(scope="module")
def processor():
    return small_processor()


def eager(model):
    model.set_attn_implementation("eager")
    return model.eval()


@pytest.fixture(scope="module")
def pretraining_model():
    torch.manual_seed(0)
    return eager(AmifForPreTraining(small_config(num_co_attention_layers=2)))


def test_a_reports_plan_is_that_of_the_local_loss(image, processor, pretraining_model):
    """The states and masks of the model's own forward, as the trainer hands them to the loss."""
    maps = word_maps(pretraining_model, processor, image, REPORT)
    inputs = {**processor(images=image), **processor.encode_reports([REPORT])}
    del inputs["image_index"]
    with torch.no_grad():
        output = pretraining_model(**inputs, hard_negatives=-torch.ones(1, 3, dtype=torch.long))
    masks = output.image_token_mask, output.text_token_mask
    cost = transport_cost(output.fused_image_states, output.fused_text_states, *masks)
    plan = transport_plan(cost, *masks, solver="emd")[0][masks[0][0]].numpy()
    assert maps.words == ["left", "lung", "a", "mass", "there", "is", "a", "mass", "in", "the", "right", "lung"]
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    place = tokens.index("lung")
    np.testing.assert_allclose(maps.transport[1].ravel(), plan[:, place] / plan[:, place].sum(), atol=1e-6)
    # The plan is optimal by POT's own solver on the same cost.
    words = masks[1][0]
    own = cost[0][masks[0][0]][:, words].double().numpy()
    uniform = [np.full(n, 1 / n) for n in own.shape]
    assert (plan[:, words] * own).sum() == pytest.approx(ot.emd2(*uniform, own), abs=1e-6)


def test_attention_of_a_word_is_a_mean_over_heads_and_layers(image, processor, pretraining_model):
    maps = word_maps(pretraining_model, processor, image, "mass")
    inputs = {**processor(images=image), **processor.encode_reports(["mass"])}
    del inputs["image_index"]
    layers = pretraining_model.model(**inputs, output_attentions=True).text_to_image_attentions
    expected = sum(head[1, 1:].detach().numpy() for layer in layers for head in layer[0])
    np.testing.assert_allclose(maps.attention[0].ravel(), expected / expected.sum(), rtol=1e-5)


@pytest.mark.parametrize(("fusion", "gated"), [("gated", True), ("add", False), ("none", False)])
def test_the_gate_is_read_where_there_is_one(image, processor, fusion, gated):
    model = eager(small_model(knowledge_fusion=fusion, knowledge=0 if fusion == "none" else 7))
    maps = word_maps(model, processor, image, QUESTION)
    assert (maps.gate is not None) == (maps.word_gates is not None) == gated
    if gated:
        inputs = processor(images=image, text=QUESTION)
        gate = model.encode(
            **{name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")}, output_attentions=True
        ).gate[0]
        length = inputs["input_ids"].shape[1]
        assert maps.gate[0, 1] == pytest.approx(gate[length + 2].mean().item()), "the first is the class token"
        assert maps.word_gates[0] == pytest.approx(gate[1].mean().item())
        with torch.no_grad():
            model.knowledge_fusion.gate.weight.zero_()
            model.knowledge_fusion.gate.bias.fill_(3.0)
        opened = word_maps(model, processor, image, QUESTION)
        np.testing.assert_allclose(opened.gate, 1 / (1 + np.exp(-3)), rtol=1e-5)


def test_phrases_are_every_occurrence_of_all_their_words():
    words = ["a", "mass", "and", "a", "mass", "left"]
    assert phrase_places(words, "A mass.") == [0, 1, 3, 4]
    maps = [np.full((2, 2), float(i)) for i in range(6)]
    assert phrase_map(words, maps, "mass left")[0, 0] == 4.5
    with pytest.raises(ValueError, match="'cyst' is not in the text as the model reads it: a mass and a mass left"):
        phrase_places(words, "cyst")
    with pytest.raises(ValueError, match="is not in the text"):
        phrase_places(words, "?")


def test_a_text_without_words_is_refused(image, processor):
    with pytest.raises(ValueError, match="holds no word"):
        word_maps(eager(small_model()), processor, image, "?")


def test_figures_say_how_much_lies_in_the_box(image, processor):
    model = eager(small_model(knowledge_fusion="gated", knowledge=7))
    maps = word_maps(model, processor, image, QUESTION)
    study = MappedStudy(image, QUESTION, ["mass", "lung"], {"a": maps, "b": maps}, (0, 0, 16, 8))
    figure = word_map_figure([study], "attention")
    titles = [axes.get_title() for axes in figure.axes]
    share = 100 * maps.attention[maps.words.index("mass")][0, :2].sum()
    assert f"“mass”\nin box {share:.0f} %, by chance 12 %" in titles
    assert titles.count(f"gate, patches\n{maps.gate.min():.2f} to {maps.gate.max():.2f}") == 2
    assert sum(title.startswith("gate, words") for title in titles) == 2
    plain = word_map_figure([MappedStudy(image, QUESTION, ["mass"], {"a": maps})], "transport")
    assert [axes.get_title() for axes in plain.axes if axes.get_title()] == ["“mass”"]


@pytest.mark.parametrize(("kind", "bars"), [("transport", 1), ("attention", 4)])
def test_several_studies_stand_in_one_figure_on_one_scale(image, processor, kind, bars):
    model = eager(small_model(knowledge_fusion="gated", knowledge=7))
    studies = [
        MappedStudy(image, text, [phrase], {"a": word_maps(model, processor, image, text)}, box)
        for text, phrase, box in (
            ("is there a mass?", "mass", (0, 0, 16, 8)),
            ("is there a cyst?", "cyst", (8, 8, 9, 9)),
        )
    ]
    figure = word_map_figure(studies, kind)
    assert [part.get_suptitle() for part in figure.subfigs] == ["is there a mass?", "is there a cyst?"]
    titles = [axes.get_title() for axes in figure.axes]
    for study, phrase in zip(studies, ("mass", "cyst"), strict=True):
        (values,) = study.panels(kind)["a"]
        share = 100 * values.ravel()[patches_in_box(study.box, image.size, len(values))].sum()
        assert any(title.startswith(f"“{phrase}”\nin box {share:.0f} %") for title in titles)
    heats = [drawn for axes in figure.axes for drawn in axes.images if drawn.get_cmap().name == "heat"]
    assert len(heats) == 2
    assert len({drawn.norm.vmax for drawn in heats}) == 1
    assert sum("<colorbar>" in axes.get_label() for axes in figure.axes) == bars


@pytest.fixture(scope="module")
def model():
    model = small_model()
    model.set_attn_implementation("eager")
    return model


@pytest.fixture(scope="module")
def inputs(processor):
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return processor(images=values, text=QUESTION)


def test_words_are_those_between_spaces_with_the_places_of_their_tokens(processor, inputs):
    words = words_read(processor, QUESTION)
    assert [word for word, _ in words] == ["is", "there", "a", "mass", "in", "the", "left", "lung"]
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert [[tokens[place] for place in places] for _, places in words][-2:] == [["left"], ["lung", "?"]]


def test_words_in_pieces_repeated_and_alone(processor):
    tokenizer = processor.tokenizer
    (one, two) = words_read(processor, "mass   mass-lung ?")
    assert one == ("mass", [1])
    places = list(range(2, 2 + len(tokenizer.tokenize("mass-lung"))))
    assert two == ("mass-lung", places)
    assert words_read(processor, "?") == []


def test_words_that_the_model_does_not_read_are_left_out(processor):
    long = " ".join(["mass"] * 60)
    assert len(words_read(processor, long)) == processor.max_question_length - 2


def test_attention_by_a_loop(model, processor, inputs):
    words = words_read(processor, QUESTION)
    maps = maps_of_words(model, inputs, words)
    weights = model.model(**inputs, output_attentions=True).text_to_image_attentions
    expected = np.zeros(16)
    for layer in weights:
        for head in layer[0]:
            for place in range(1, 10):  # without [CLS] and [SEP]
                expected += head[place, 1:].detach().numpy()  # without the image's class token
    np.testing.assert_allclose(maps.text_attention.ravel(), expected / expected.sum(), rtol=1e-5)


def test_transport_by_pot(model, processor, inputs):
    words = words_read(processor, QUESTION)
    maps = maps_of_words(model, inputs, words)
    states = model.model(**inputs).last_hidden_state[0].detach().double().numpy()
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    text, patches = unit[1:10], unit[12:]
    plan = ot.emd(np.full(16, 1 / 16), np.full(9, 1 / 9), 1 - patches @ text.T)
    for found, (_, places) in zip(maps.transport, words, strict=True):
        expected = plan[:, [place - 1 for place in places]].sum(axis=1)
        np.testing.assert_allclose(found.ravel(), expected / expected.sum(), atol=1e-6)


def test_maps_over_each_of_several_images(image, processor):
    """Without view embedding images are a set, so that their maps change places with them; shares add up."""
    model, other = eager(small_model()), Image.effect_noise((32, 32), 90).convert("RGB")
    first, second = view_maps(model, processor, [image, other], QUESTION)
    for maps, moved in zip((second, first), view_maps(model, processor, [other, image], QUESTION), strict=True):
        np.testing.assert_allclose(moved.attention, maps.attention, rtol=1e-3)
        np.testing.assert_allclose(moved.transport, maps.transport, atol=1e-4)
        np.testing.assert_allclose(moved.gate, maps.gate, rtol=1e-3)
        np.testing.assert_allclose(moved.shares, maps.shares, rtol=1e-3)
        assert all(found.sum() == pytest.approx(1) or not found.any() for found in maps.transport)
    np.testing.assert_allclose(np.add(first.shares, second.shares), 1, rtol=1e-5)
    inputs = processor(images=[[image, other]], text=QUESTION)
    layers = model.model(**inputs, output_attentions=True).text_to_image_attentions
    seen = sum(layer[0].mean(dim=0) for layer in layers).detach().numpy()  # of each, 16 patches behind a class token
    for (_, places), share in zip(words_read(processor, QUESTION), first.shares, strict=True):
        here, there = seen[places, 1:17].sum(), seen[places, 18:].sum()
        assert share == pytest.approx(here / (here + there), rel=1e-4)
    assert view_maps(model, processor, [image], QUESTION)[0].shares == pytest.approx([1] * len(first.words))
    with pytest.raises(ValueError, match="A report is matched with one image"):
        view_maps(AmifForPreTraining(small_config()), processor, [image, other], REPORT)


def test_all_words_together_reach_every_patch_alike(model, processor, inputs):
    words = words_read(processor, QUESTION)
    maps = maps_of_words(model, inputs, words)
    together = sum(len(places) * found for (_, places), found in zip(words, maps.transport, strict=True))
    np.testing.assert_allclose(together, np.full((4, 4), 9 / 16), rtol=1e-4)
    assert all(found.sum() == pytest.approx(1) for found in (maps.text_attention, *maps.transport))


def test_image_states_in_place_of_pixels(model, processor, inputs):
    words = words_read(processor, QUESTION)
    states = model.model.encode_images(inputs["pixel_values"])
    given = {name: value for name, value in inputs.items() if name != "pixel_values"} | {"image_states": states}
    expected, found = maps_of_words(model, inputs, words), maps_of_words(model, given, words)
    np.testing.assert_allclose(found.text_attention, expected.text_attention, rtol=1e-4)


def test_a_text_without_words_has_the_attention_of_all_its_tokens(model, inputs):
    maps = maps_of_words(model, inputs, [])
    layers = model.model(**inputs, output_attentions=True).text_to_image_attentions
    expected = sum(layer[0, :, :, 1:].sum(dim=(0, 1)).detach().numpy() for layer in layers)
    np.testing.assert_allclose(maps.text_attention.ravel(), expected / expected.sum(), rtol=1e-5)
    assert maps.words == maps.transport == maps.attention == []


def test_other_attention_becomes_eager(inputs):
    asked, expected = (maps_of_words(model, inputs, [("is", [1])]) for model in (small_model(), eager(small_model())))
    np.testing.assert_allclose(asked.attention, expected.attention, rtol=1e-5)


def test_the_layer_is_opaque_where_the_weight_is():
    weights = np.full((3, 3), 1 / 9)
    weights[0, 2], weights[2, 0], weights[1] = 3 / 9, 2 / 9, 0
    layer = draw_map(weights, (300, 150))
    assert (layer.mode, layer.size) == ("RGBA", (300, 150))
    pixels = np.asarray(layer)
    assert (pixels[..., :3] == AMBER).all()
    centres = pixels[25::50, 50::100, 3]
    np.testing.assert_allclose(centres, [[0, 0, 255], [0, 0, 0], [128, 0, 0]], atol=4)
    assert Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer).getpixel((299, 0)) == (*AMBER, 255)


def test_a_map_without_preference_is_clear():
    assert np.asarray(draw_map(np.full((4, 4), 1 / 16), (40, 40)))[..., 3].max() == 0
    nearly = np.full((4, 4), 1 / 16)
    nearly[0, 0], nearly[3, 3] = 1.1 / 16, 0.9 / 16
    assert np.asarray(draw_map(nearly, (40, 40)))[..., 3].max() == pytest.approx(25.5, abs=1)
