import copy

import pytest
import torch
from remote_loading import run_without_amif
from small_models import padded, small_config, small_inputs, small_model
from transformers import AutoConfig, AutoModel, AutoModelForVisualQuestionAnswering, GenerationConfig
from transformers.utils import logging

from amif import AmifConfig, AmifForVisualQuestionAnswering, AmifModel

ANSWERS = [[5], [6, 7, 8], [9, 10], [11]]


@pytest.fixture
def model():
    return small_model()


@pytest.fixture
def inputs():
    return small_inputs()


def million_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_paper_size():
    """Supplement 6 gives 14.8 M for the gated module and 122 M for the decoder; docs/model.md has all parts."""
    with torch.device("meta"):
        model = AmifForVisualQuestionAnswering(AmifConfig())
    assert round(million_parameters(model.knowledge_fusion), 2) == 14.77
    assert round(million_parameters(model.decoder), 1) == 122.5
    assert round(million_parameters(model.model.vision_model), 1) == 85.9
    assert round(million_parameters(model.model.co_attention), 1) == 113.4
    assert round(million_parameters(model), 1) == 445.5
    assert model.config.vision_config.image_size == 288
    assert [hasattr(layer, "crossattention") for layer in model.decoder.bert.encoder.layer] == [False] * 6 + [True] * 6


def naive_loss(model, inputs, labels):
    """Token by token and question by question, the decoder reading only what came before."""
    total = 0.0
    for question, row in enumerate(labels.tolist()):
        tokens = [token for token in row if token not in (0, -100)]
        for i in range(1, len(tokens)):
            logits = model(
                inputs["pixel_values"][inputs["image_index"][question]][None],
                inputs["input_ids"][question : question + 1],
                inputs["attention_mask"][question : question + 1],
                labels=torch.tensor([tokens[:i]]),
            ).logits
            total -= logits[0, -1].log_softmax(-1)[tokens[i]].item()
    return total / len(labels)


@pytest.mark.parametrize("fill", [0, -100])
def test_loss_equals_a_per_token_loop(model, inputs, fill):
    labels = padded(ANSWERS, fill)["input_ids"]
    output = model(**inputs, labels=labels)
    assert output.logits.shape == (4, 5, 120)
    assert output.loss.item() == pytest.approx(naive_loss(model, inputs, labels), rel=1e-5)


def test_start_token_is_never_predicted_and_end_is(model, inputs):
    labels = padded([[5]] * 4)["input_ids"]
    log_probs = model(**inputs, labels=labels).logits.log_softmax(-1)
    expected = -(log_probs[:, 0, 5] + log_probs[:, 1, 102]).mean()
    torch.testing.assert_close(model(**inputs, labels=labels).loss, expected)


def test_image_index_equals_repeated_images(model, inputs):
    labels = padded(ANSWERS)["input_ids"]
    shared = model(**inputs, labels=labels)
    repeated = dict(inputs, pixel_values=inputs["pixel_values"][inputs["image_index"]])
    del repeated["image_index"]
    torch.testing.assert_close(model(**repeated, labels=labels).logits, shared.logits)


def test_gradients_of_shared_images_equal_those_of_repeated_ones(inputs):
    labels = padded(ANSWERS)["input_ids"]
    shared, repeated = small_model(), small_model()
    shared(**inputs, labels=labels).loss.backward()
    copies = inputs["pixel_values"][inputs["image_index"]]
    repeated(copies, inputs["input_ids"], inputs["attention_mask"], labels=labels).loss.backward()
    for (name, one), two in zip(shared.named_parameters(), repeated.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_cached_image_states_equal_pixels(model, inputs):
    states = model.model.encode_images(inputs["pixel_values"])
    cached = {name: value for name, value in inputs.items() if name != "pixel_values"} | {"image_states": states}
    torch.testing.assert_close(model(**cached).logits, model(**inputs).logits)


def test_padding_of_questions_and_batch_composition_have_no_influence(model, inputs):
    labels = padded(ANSWERS)["input_ids"]
    together = model(**inputs, labels=labels).logits
    for i in range(4):
        length = int(inputs["attention_mask"][i].sum())
        alone = model(
            inputs["pixel_values"][inputs["image_index"][i]][None],
            inputs["input_ids"][i : i + 1, :length],
            labels=labels[i : i + 1],
        )
        torch.testing.assert_close(alone.logits[0], together[i], rtol=1e-4, atol=1e-5)


def test_accumulated_parts_equal_one_batch(inputs):
    labels = padded(ANSWERS)["input_ids"]
    whole, parts = small_model(), small_model()
    loss = whole(**inputs, labels=labels).loss
    loss.backward()
    total = 0.0
    for rows in (slice(0, 2), slice(2, 4)):
        part = {name: value[rows] for name, value in inputs.items() if name != "pixel_values"}
        part_loss = parts(inputs["pixel_values"], **part, labels=labels[rows]).loss / 2
        part_loss.backward()
        total += part_loss.item()
    assert total == pytest.approx(loss.item(), rel=1e-5)
    for one, two in zip(whole.parameters(), parts.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_bfloat16_is_close_to_float32(model, inputs):
    exact = model(**inputs).logits.log_softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(**inputs).logits.float().log_softmax(-1)
    assert (exact - rough).abs().max() < 0.1 * exact.std()


@torch.no_grad()
def test_eager_equals_sdpa_and_gives_maps(model, inputs):
    expected = model(**inputs)
    model.set_attn_implementation("eager")
    output = model(**inputs, output_attentions=True)
    torch.testing.assert_close(output.logits, expected.logits, rtol=1e-4, atol=1e-5)
    text, image = inputs["input_ids"].shape[1], 17
    assert output.text_to_image_attentions[1].shape == (4, 4, text, image)
    assert output.knowledge_attentions.shape == (4, 4, text + image, 7)
    assert output.gate.shape == (4, text + image, 32)
    assert 0 < output.gate.min() < output.gate.max() < 1


def test_maps_that_sdpa_does_not_keep_are_those_of_eager_attention(model, inputs, caplog):
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    expected = eager(**inputs, output_attentions=True)
    logging.get_logger("transformers").warning_once.cache_clear()
    logging.enable_propagation()
    output = model(**inputs, output_attentions=True)
    logging.disable_propagation()
    assert "sdpa attention keeps no weights: attention is eager from now on" in caplog.text
    for name in ("text_to_image_attentions", "cross_attentions", "knowledge_attentions"):
        torch.testing.assert_close(output[name], expected[name], msg=name)


def test_activation_checkpointing_changes_no_gradient(inputs):
    labels = padded(ANSWERS)["input_ids"]
    plain, checkpointed = small_model().train(), small_model().train()
    checkpointed.activation_checkpointing_enable()
    assert checkpointed.model.co_attention.text_layers[0].gradient_checkpointing
    for model in (plain, checkpointed):
        torch.manual_seed(1)  # so that both drop out alike, also where the second computes anew
        model(**inputs, labels=labels).loss.backward()
    for one, two in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_compiled_model_gives_equal_logits(model, inputs):
    labels = padded(ANSWERS)["input_ids"]
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(
        compiled(**inputs, labels=labels).logits, model(**inputs, labels=labels).logits, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_greedy_generation_equals_a_loop_without_cache(model, inputs):
    expected = torch.full((4, 1), 101)
    for _ in range(6):
        logits = model(**inputs, labels=expected).logits
        expected = torch.cat([expected, logits[:, -1:].argmax(-1)], dim=1)
    generated = model.generate(**inputs, max_new_tokens=6, eos_token_id=-1)
    assert torch.equal(generated, expected)


@torch.no_grad()
def test_beam_search_finds_nothing_worse_than_greedy(model, inputs):
    def score(tokens):
        log_probs = model(**inputs, labels=tokens).logits.log_softmax(-1)
        return log_probs[:, :-1].gather(2, tokens[:, 1:, None]).sum((1, 2))

    options = {"max_new_tokens": 4, "min_new_tokens": 4}
    greedy = model.generate(**inputs, **options)
    beams = model.generate(**inputs, **options, num_beams=8, length_penalty=0.0)
    assert (score(beams) >= score(greedy) - 1e-4).all()
    assert (score(beams) > score(greedy)).any() or torch.equal(beams, greedy)


def test_texts_and_images_must_match(model, inputs):
    del inputs["image_index"]
    with pytest.raises(ValueError, match="image_index"):
        model(**inputs)
    with pytest.raises(ValueError, match="pixel_values or image_states"):
        model(input_ids=inputs["input_ids"])


@pytest.mark.parametrize("fusion", ["gated", "add", "none"])
def test_checkpoint_round_trip(fusion, inputs, tmp_path):
    model = small_model(knowledge_fusion=fusion)
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    for auto in (AutoModel, AutoModelForVisualQuestionAnswering, AmifForVisualQuestionAnswering):
        loaded = auto.from_pretrained(tmp_path).eval()
        assert type(loaded) is AmifForVisualQuestionAnswering
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is AmifConfig
    assert (config.knowledge_fusion, config.hidden_size, config.text_config.vocab_size) == (fusion, 32, 120)


def test_auto_model_gives_the_class_that_was_saved(tmp_path):
    AmifModel(small_config()).save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is AmifModel


def test_missing_knowledge_comes_up_as_zeros_not_garbage(model, tmp_path):
    from safetensors.torch import load_file, save_file

    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["knowledge_ids"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = AmifForVisualQuestionAnswering.from_pretrained(tmp_path)
    assert torch.equal(loaded.knowledge_ids, torch.zeros(7, dtype=torch.long))


REMOTE = """
import torch
from transformers import AutoModel, AutoModelForVisualQuestionAnswering
folder = sys.argv[1]
inputs, answers, logits, indices = torch.load(folder + "/expected.pt", weights_only=True)
for auto in (AutoModel, AutoModelForVisualQuestionAnswering):
    model = auto.from_pretrained(folder, trust_remote_code=True).eval()
    assert type(model).__module__.startswith("transformers_modules"), type(model)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, logits)
        assert torch.equal(model.rank_answers(**inputs, answers=answers, top_k=4).indices, indices)
print("equal")
"""


@torch.no_grad()
def test_checkpoint_answers_where_amif_is_not_installed(model, inputs, tmp_path):
    model.save_pretrained(tmp_path)
    indices = model.rank_answers(**inputs, answers=padded(ANSWERS), top_k=4).indices
    torch.save((inputs, padded(ANSWERS), model(**inputs).logits, indices), tmp_path / "expected.pt")
    assert run_without_amif(REMOTE, tmp_path).strip().endswith("equal")


def test_a_length_of_the_callers_own_is_kept_in_every_form(model, inputs):
    unending = {"eos_token_id": -1}
    assert model.generate(**inputs, **unending).shape[1] == 1 + 32
    assert model.generate(**inputs, **unending, max_new_tokens=6).shape[1] == 1 + 6
    assert model.generate(**inputs, **unending, max_length=5).shape[1] == 5
    assert model.generate(**inputs, **unending, generation_config=GenerationConfig(max_new_tokens=3)).shape[1] == 1 + 3
    trained = GenerationConfig(max_new_tokens=2)  # as fine-tuning leaves it
    assert model.generate(**inputs, **unending, generation_config=trained, max_length=5).shape[1] == 5


def test_the_loss_is_the_first_of_the_outputs(model, inputs):
    labels = padded(ANSWERS)["input_ids"]
    output = model(**inputs, labels=labels)
    assert list(output)[:2] == ["loss", "logits"]
    assert output[0] is output.loss
    assert list(model(**inputs))[:2] == ["logits", "joint_states"]
