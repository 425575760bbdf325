import pytest
import torch
from torch.testing import assert_close

from amif import AgaForPreTraining
from amif.training.small_model import small_pretraining_model, small_processor
from amif.training.zero_shot import label_embeddings, read_prompts


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
        ('{"mass"', "is no JSON"),
    ):
        file.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_prompts(file)
