import pytest
import torch
from torch.testing import assert_close

from amif import AgaForPreTraining
from amif.training.data.phantom.datasets import load_phantom_pretraining
from amif.training.pretraining.embeddings import embed_pairs, image_features, label_embeddings, read_prompts
from amif.training.pretraining.objectives import OBJECTIVES
from amif.training.processors import small_processor
from amif.training.small_model import small_pretraining_model


@pytest.fixture(scope="module")
def pairs():
    return load_phantom_pretraining(num_studies=40, image_size=32)["test"]


@torch.no_grad()
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_split_is_embedded_as_its_pairs_are_one_by_one(pairs, objective):
    torch.manual_seed(0)
    processor = small_processor(pairs["text"], 32)
    model = small_pretraining_model(processor, 32, model_class=OBJECTIVES[objective].model).train()
    images, texts = embed_pairs(model, processor, pairs, batch_size=3)
    embeds, features = image_features(model, processor, pairs, batch_size=5)
    assert not model.training
    assert_close(embeds, images, atol=1e-5, rtol=1e-5)
    for row, study in enumerate(pairs):
        pixels = processor(images=study["images"][0].convert("RGB"))["pixel_values"]
        assert_close(images[row], model.embed_images(pixels)[0], atol=1e-5, rtol=1e-4)
        assert_close(
            texts[row], model.embed_texts(**processor.encode_reports([study["text"]]))[0], atol=1e-5, rtol=1e-4
        )
        states = model.model.vision_model(pixels).last_hidden_state[0]
        assert_close(features[row], torch.cat([states[0], states[1:].mean(dim=0)]), atol=1e-4, rtol=1e-4)


@pytest.fixture
def model_and_processor():
    torch.manual_seed(0)
    processor = small_processor(["there is a mass", "the chest is normal"], 32)
    return small_pretraining_model(processor, 32, model_class=AgaForPreTraining), processor


@torch.no_grad()
def test_a_label_is_the_mean_direction_of_its_prompts(model_and_processor):
    model, processor = model_and_processor
    prompts = {"mass": ["there is a mass", "Mass."], "none": ["the chest is normal"]}
    found = label_embeddings(model, processor, prompts)
    for row, texts in zip(found, prompts.values(), strict=True):
        each = [model.embed_texts(**processor.encode_reports([text]))[0] for text in texts]
        mean = torch.stack(each).mean(dim=0)
        assert_close(row, mean / mean.norm(), atol=1e-5, rtol=1e-5)


def test_prompts_are_read_and_odd_ones_are_named(tmp_path):
    file = tmp_path / "prompts.json"
    file.write_text('{"mass": "a mass", "cyst": ["a cyst", "cyst"]}')
    assert read_prompts(file) == {"mass": ["a mass"], "cyst": ["a cyst", "cyst"]}
    for content, message in (
        ("[1]", "must hold an object"),
        ('{"mass": []}', "prompts of 'mass'"),
        ('{"mass": [1]}', "prompts of 'mass'"),
        ('{"mass"', "cannot be read as JSON"),
        ('{"mass": "a mass", "mass": "no mass"}', "repeats 'mass'"),
        ('{"mass": 5}', "prompts of 'mass' must be a text"),
        ('{"mass": ["\\u200b"]}', "prompts of 'mass' must be a text"),
        ("5", "must hold an object"),
    ):
        file.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_prompts(file)
