import numpy as np
import ot
import pytest
from PIL import Image
from small_models import small_model, small_processor

from amif.training.evaluation.image_maps import AMBER, draw_map, question_maps, question_words

QUESTION = "Is there a mass in the Left lung?"


@pytest.fixture(scope="module")
def processor():
    return small_processor()


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
    words = question_words(processor, QUESTION)
    assert [word for word, _ in words] == ["is", "there", "a", "mass", "in", "the", "left", "lung"]
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert [[tokens[place] for place in places] for _, places in words][-2:] == [["left"], ["lung", "?"]]


def test_words_in_pieces_repeated_and_alone(processor):
    tokenizer = processor.tokenizer
    (one, two) = question_words(processor, "mass   mass-lung ?")
    assert one == ("mass", [1])
    places = list(range(2, 2 + len(tokenizer.tokenize("mass-lung"))))
    assert two == ("mass-lung", places)
    assert question_words(processor, "?") == []


def test_words_that_the_model_does_not_read_are_left_out(processor):
    long = " ".join(["mass"] * 60)
    assert len(question_words(processor, long)) == processor.max_question_length - 2


def test_attention_by_a_loop(model, processor, inputs):
    words = [places for _, places in question_words(processor, QUESTION)]
    maps = question_maps(model, inputs, words)
    weights = model.model(**inputs, output_attentions=True).text_to_image_attentions
    expected = np.zeros(16)
    for layer in weights:
        for head in layer[0]:
            for place in range(1, 10):  # without [CLS] and [SEP]
                expected += head[place, 1:].detach().numpy()  # without the image's class token
    np.testing.assert_allclose(maps.attention.ravel(), expected / expected.sum(), rtol=1e-5)


def test_transport_by_pot(model, processor, inputs):
    words = [places for _, places in question_words(processor, QUESTION)]
    maps = question_maps(model, inputs, words)
    states = model.model(**inputs).last_hidden_state[0].detach().double().numpy()
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    text, patches = unit[1:10], unit[12:]
    plan = ot.emd(np.full(16, 1 / 16), np.full(9, 1 / 9), 1 - patches @ text.T)
    for found, places in zip(maps.transport, words, strict=True):
        expected = plan[:, [place - 1 for place in places]].sum(axis=1)
        np.testing.assert_allclose(found.ravel(), expected / expected.sum(), atol=1e-6)


def test_all_words_together_reach_every_patch_alike(model, processor, inputs):
    words = [places for _, places in question_words(processor, QUESTION)]
    maps = question_maps(model, inputs, words)
    together = sum(len(places) * found for places, found in zip(words, maps.transport, strict=True))
    np.testing.assert_allclose(together, np.full((4, 4), 9 / 16), rtol=1e-4)
    assert all(found.sum() == pytest.approx(1) for found in (maps.attention, *maps.transport))


def test_image_states_in_place_of_pixels(model, processor, inputs):
    words = [places for _, places in question_words(processor, QUESTION)]
    states = model.model.encode_images(inputs["pixel_values"])
    given = {name: value for name, value in inputs.items() if name != "pixel_values"} | {"image_states": states}
    expected, found = question_maps(model, inputs, words), question_maps(model, given, words)
    np.testing.assert_allclose(found.attention, expected.attention, rtol=1e-4)


def test_other_attention_is_refused(processor, inputs):
    with pytest.raises(ValueError, match="eager"):
        question_maps(small_model(), inputs, [[1]])


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
