import pytest
import torch
from torch.testing import assert_close

from amif.training.data.phantom import load_phantom_pretraining
from amif.training.objectives import OBJECTIVES
from amif.training.pair_embedding import embed_pairs, image_features
from amif.training.small_model import small_pretraining_model, small_processor


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
