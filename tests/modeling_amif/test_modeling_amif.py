"""Several images of one question: joined behind one another, each beside a vector of its own."""

import pytest
import torch
from small_models import padded, small_config, small_inputs, small_model
from torch.testing import assert_close
from transformers.utils import logging

from amif import AmifForVisualQuestionAnswering

PATCHES = 17
LABELS = padded([[5], [6, 7, 8], [9, 10], [11]])["input_ids"]

# Of three images: three views, two, one, and the same image twice.
VIEWS = torch.tensor([[2, 0, 1], [1, 2, -1], [0, -1, -1], [1, 1, -1]])


@pytest.fixture(scope="module")
def model():
    return small_model(view_embedding=True)


def inputs_of(views=VIEWS):
    return {**small_inputs(len(views), images=3), "image_index": views}


def rows(inputs, places):
    """Some of the questions alone, about the same images."""
    return {name: tensor if name == "pixel_values" else tensor[places] for name, tensor in inputs.items()}


@torch.no_grad()
def test_joined_states_equal_a_naive_concatenation(model):
    """Question by question and image by image; the embedding is added by hand, and nothing is padded."""
    inputs, core = inputs_of(), model.model
    joint = core(**inputs)
    for row, views in enumerate(VIEWS.tolist()):
        mask = inputs["attention_mask"][row].bool()
        text = core.encode_texts(inputs["input_ids"][row, mask][None])
        tokens = [
            core.project_images(core.encode_images(inputs["pixel_values"][view][None])) + core.view_embedding.weight[n]
            for n, view in enumerate(views)
            if view >= 0
        ]
        text, image, _ = core.co_attention(text, torch.cat(tokens, dim=1))
        valid = joint.attention_mask[row].bool()
        assert valid.sum() == mask.sum() + PATCHES * len(tokens)
        assert_close(joint.last_hidden_state[row][valid], torch.cat([text, image], dim=1)[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_answers_know_nothing_of_how_a_batch_is_made(model):
    """A question beside others with more views answers as alone, and whatever the order of the unique images."""
    inputs, answers = inputs_of(), padded([[5], [6, 7, 8], [9, 10], [11]])
    logits, ranking = model(**inputs, labels=LABELS).logits, model.rank_answers(**inputs, answers=answers, top_k=4)
    for row, views in enumerate(VIEWS):
        alone = rows(inputs, [row]) | {"image_index": views[views >= 0][None]}
        assert_close(model(**alone, labels=LABELS[[row]]).logits[0], logits[row], rtol=1e-4, atol=1e-5)
        ranked = model.rank_answers(**alone, answers=answers, top_k=4)
        assert_close(tuple(ranked.values()), (ranking.indices[[row]], ranking.scores[[row]]), rtol=1e-4, atol=1e-5)
    order = torch.tensor([2, 0, 1])
    moved = torch.where(VIEWS < 0, VIEWS, order.argsort()[VIEWS.clamp(min=0)])
    permuted = inputs | {"pixel_values": inputs["pixel_values"][order], "image_index": moved}
    assert_close(model(**permuted, labels=LABELS).logits, logits, rtol=1e-4, atol=1e-5)
    generated = model.generate(**inputs, max_new_tokens=4, num_beams=2)
    assert torch.equal(model.generate(**permuted, max_new_tokens=4, num_beams=2), generated)
    states = inputs | {"image_states": model.model.encode_images(inputs["pixel_values"])}
    del states["pixel_values"]
    assert_close(model(**states, labels=LABELS).logits, logits, rtol=0, atol=0)


def test_search_over_several_views_equals_exhaustive_scoring(model):
    answers = padded([[5], [6, 7, 8], [6, 7, 9], [9, 10], [11], [6, 7]])
    for score in ("sum", "mean"):
        found, scored = (
            model.rank_answers(**inputs_of(), answers=answers, top_k=6, method=method, score=score)
            for method in ("search", "exhaustive")
        )
        assert torch.equal(found.indices, scored.indices)
        assert_close(found.scores, scored.scores, rtol=1e-5, atol=1e-4)


def test_one_image_answers_as_before(tmp_path, monkeypatch):
    """A checkpoint without the embedding gets one by a call, bit for bit the same model, and keeps it; none is lost."""
    warnings = []
    monkeypatch.setattr(logging.get_logger("transformers.modeling_utils"), "warning", warnings.append)
    before, inputs = small_model(), small_inputs()
    before.save_pretrained(tmp_path / "one")
    assert not any("view" in name for name in before.state_dict())
    loaded, said = AmifForVisualQuestionAnswering.from_pretrained(tmp_path / "one", output_loading_info=True)
    assert not any(said.values()), said
    with torch.no_grad():
        logits = before(**inputs, labels=LABELS).logits
        assert torch.equal(loaded.eval()(**inputs, labels=LABELS).logits, logits)
        joined = loaded(**inputs_of(), labels=LABELS).logits
        loaded.model.add_view_embedding()
        as_views = inputs | {"image_index": inputs["image_index"][:, None]}
        assert torch.equal(loaded(**inputs, labels=LABELS).logits, logits)
        assert_close(loaded(**as_views, labels=LABELS).logits, logits, rtol=1e-5, atol=1e-6)
        assert torch.equal(loaded(**inputs_of(), labels=LABELS).logits, joined)
        loaded.model.view_embedding.weight += 1
        assert not torch.allclose(loaded(**inputs_of(), labels=LABELS).logits, joined)
    loaded.model.add_view_embedding()
    loaded.save_pretrained(tmp_path / "several")
    again, said = AmifForVisualQuestionAnswering.from_pretrained(tmp_path / "several", output_loading_info=True)
    assert not any(said.values()), said
    assert (again.model.view_embedding.weight == 1).all()
    assert (AmifForVisualQuestionAnswering(small_config(view_embedding=True)).model.view_embedding.weight == 0).all()
    assert not warnings


@pytest.mark.parametrize("checkpointing", [False, True])
def test_each_view_has_a_gradient(checkpointing):
    """Of those that are there alone, and of one image's questions too: no parameter of several processes is unused."""
    model = small_model(view_embedding=True)
    if checkpointing:
        model.activation_checkpointing_enable()
    embedding = model.train().model.view_embedding
    for views, used in ((VIEWS, 3), (VIEWS[:, :2], 2), (VIEWS[:, 0], 1)):
        embedding.weight.grad = None
        model(**inputs_of(views), labels=LABELS).loss.backward()
        assert (embedding.weight.grad.abs().sum(dim=1) > 0).tolist() == [place < used for place in range(4)]


def test_maps_over_several_views_are_distributions_over_those_that_are_there(model):
    eager = small_model(view_embedding=True)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        output = eager(**inputs_of(), labels=LABELS, output_attentions=True)
        assert_close(output.logits, model(**inputs_of(), labels=LABELS).logits, rtol=1e-4, atol=1e-5)
    weights = output.text_to_image_attentions[-1]
    assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert not weights[1, ..., 2 * PATCHES :].any()
    assert not weights[2, ..., PATCHES:].any()


def test_several_images_of_a_model_of_one_are_told(monkeypatch):
    told = []
    monkeypatch.setattr(logging.get_logger("amif.modeling_amif.modeling_amif"), "warning_once", told.append)
    plain = small_model()
    plain(**small_inputs(), labels=LABELS)
    assert not told
    plain(**inputs_of(), labels=LABELS)
    assert "learned from one image a question" in told[0]
