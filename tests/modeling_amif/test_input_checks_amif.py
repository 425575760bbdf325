"""Wrong arguments of the Python interface: each ends in an error of ours, before anything is computed."""

import pytest
import torch
from our_errors import result_or_our_error
from small_models import (
    CANDIDATES,
    padded,
    save_small_checkpoint,
    small_config,
    small_inputs,
    small_model,
    small_processor,
)
from transformers import ViTModel, pipeline

from amif import AgaForPreTraining, AmifConfig, AmifForPreTraining, AmifForVisualQuestionAnswering, AmifProcessor
from amif.modeling_amif.configuration_aga_amif import AgaConfig

INPUTS = small_inputs()
ANSWERS = padded([[5], [6, 7]])
LABELS = padded([[5], [6, 7], [8], [9]])["input_ids"]
NAN = float("nan")


def changed(tensor, place, value):
    tensor = tensor.clone()
    tensor[place] = value
    return tensor


# What every model that reads images and texts refuses.
TEXTS_AND_IMAGES = {
    "pixels: list": {"pixel_values": [[0.0]]},
    "pixels: text": {"pixel_values": "image.png"},
    "pixels: one image without its axis": {"pixel_values": INPUTS["pixel_values"][0]},
    "pixels: none": {"pixel_values": INPUTS["pixel_values"][:0]},
    "pixels: bytes": {"pixel_values": INPUTS["pixel_values"].to(torch.uint8)},
    "pixels: complex": {"pixel_values": INPUTS["pixel_values"].to(torch.complex64)},
    "pixels: one channel": {"pixel_values": INPUTS["pixel_values"][:, :1]},
    "pixels: channels last": {"pixel_values": INPUTS["pixel_values"].permute(0, 2, 3, 1)},
    "pixels: another size": {"pixel_values": torch.zeros(2, 3, 16, 16)},
    "pixels: another device": {"pixel_values": INPUTS["pixel_values"].to("meta")},
    "ids: list": {"input_ids": [[101, 5, 102]]},
    "ids: one text without its axis": {"input_ids": INPUTS["input_ids"][0]},
    "ids: none": {"input_ids": INPUTS["input_ids"][:0]},
    "ids: floats": {"input_ids": INPUTS["input_ids"].float()},
    "ids: bool": {"input_ids": INPUTS["input_ids"].bool()},
    "ids: negative": {"input_ids": changed(INPUTS["input_ids"], (0, 1), -1)},
    "ids: beyond the vocabulary": {"input_ids": changed(INPUTS["input_ids"], (0, 1), 120)},
    "ids: more than positions": {"input_ids": torch.full((4, 65), 5), "attention_mask": None},
    "ids: another device": {"input_ids": INPUTS["input_ids"].to("meta")},
    "mask: list": {"attention_mask": [[1, 1, 1]]},
    "mask: another shape": {"attention_mask": INPUTS["attention_mask"][:, :2]},
    "mask: of other texts": {"attention_mask": INPUTS["attention_mask"][:1]},
    "mask: left padding": {"attention_mask": INPUTS["attention_mask"].flip(1)},
    "mask: a gap": {"attention_mask": changed(torch.ones_like(INPUTS["input_ids"]), (0, 1), 0)},
    "mask: nothing valid": {"attention_mask": changed(INPUTS["attention_mask"], 0, 0)},
    "mask: 2": {"attention_mask": INPUTS["attention_mask"] * 2},
    "mask: additive": {"attention_mask": (INPUTS["attention_mask"].float() - 1) * 1e9},
    "mask: NaN": {"attention_mask": changed(INPUTS["attention_mask"].float(), (0, 0), NAN)},
}
PAIRS = {
    "nothing": {"pixel_values": None, "input_ids": None},
    "no image": {"pixel_values": None},
    "no text": {"input_ids": None},
    "images twice": {"image_states": torch.zeros(2, 17, 32)},
    "index: list": {"image_index": [0, 1, 0, 1]},
    "index: missing": {"image_index": None},
    "index: short": {"image_index": torch.tensor([0])},
    "index: long": {"image_index": torch.tensor([0, 1, 0, 1, 0])},
    "index: negative": {"image_index": torch.tensor([0, -1, 0, 1])},
    "index: no such image": {"image_index": torch.tensor([0, 2, 0, 1])},
    "index: bool": {"image_index": torch.tensor([True, False, True, True])},
    "index: floats": {"image_index": torch.tensor([0.0, 1, 0, 1])},
    "index: another number of rows": {"image_index": torch.tensor([[0, 1, 0, 1]])},
    "index: five views": {"image_index": torch.tensor([[0, 1, 0, 1, 0]] * 4)},
    "index: no first view": {"image_index": torch.tensor([[0, 1], [-1, 0], [1, 0], [0, -1]])},
    "index: a gap between views": {"image_index": torch.tensor([[0, 1, 0], [1, 0, 1], [1, -1, 0], [0, -1, -1]])},
    "index: no such view": {"image_index": torch.tensor([[0, 1], [0, 2], [1, 0], [0, -1]])},
    "index: a negative view": {"image_index": torch.tensor([[0, 1], [0, -2], [1, 0], [0, -1]])},
    "states: of another width": {"pixel_values": None, "image_states": torch.zeros(2, 17, 16)},
    "states: two axes": {"pixel_values": None, "image_states": torch.zeros(2, 32)},
    "states: list": {"pixel_values": None, "image_states": [[1.0]]},
}
FORWARD = {
    "labels: list": {"labels": [[101, 5, 102]]},
    "labels: words": {"labels": ["yes"]},
    "labels: one axis": {"labels": LABELS[0]},
    "labels: floats": {"labels": LABELS.float()},
    "labels with a single token for texts": {"labels": LABELS, "input_ids": torch.tensor(5)},
    "labels: of other texts": {"labels": LABELS[:2]},
    "labels: none": {"labels": LABELS[:, :0]},
    "labels: beyond the vocabulary": {"labels": changed(LABELS, (0, 1), 999)},
    "labels: negative": {"labels": changed(LABELS, (0, 1), -5)},
    "labels: without [CLS]": {"labels": LABELS[:, 1:]},
    "labels: -100 in place of [CLS]": {"labels": changed(LABELS, (0, 0), -100)},
    "labels: longer than positions": {"labels": padded([[5] * 63] * 4)["input_ids"]},
}
RANK = {
    "answers: None": {"answers": None},
    "answers: words": {"answers": ["yes", "no"]},
    "answers: a tensor": {"answers": ANSWERS["input_ids"]},
    "answers: no mask": {"answers": {"input_ids": ANSWERS["input_ids"]}},
    "answers: lists": {"answers": {name: tensor.tolist() for name, tensor in ANSWERS.items()}},
    "answers: none": {"answers": {name: tensor[:0] for name, tensor in ANSWERS.items()}},
    "answers: one axis": {"answers": {name: tensor[0] for name, tensor in ANSWERS.items()}},
    "answers: floats": {"answers": ANSWERS | {"input_ids": ANSWERS["input_ids"].float()}},
    "answers: another mask": {"answers": ANSWERS | {"attention_mask": ANSWERS["attention_mask"][:1]}},
    "answers: left padding": {"answers": {name: tensor.flip(1) for name, tensor in ANSWERS.items()}},
    "answers: without [CLS]": {"answers": {name: tensor[:, 1:] for name, tensor in ANSWERS.items()}},
    "answers: without [SEP]": {"answers": {name: tensor[:, :2] for name, tensor in ANSWERS.items()}},
    "answers: [CLS] alone": {"answers": {name: tensor[:, :1] for name, tensor in ANSWERS.items()}},
    "answers: beyond the vocabulary": {"answers": padded([[5], [999]])},
    "answers: negative": {"answers": padded([[5], [-3]])},
    "answers: longer than positions": {"answers": padded([[5], [6] * 63])},
    "top_k=0": {"top_k": 0},
    "top_k=-1": {"top_k": -1},
    "top_k=1.5": {"top_k": 1.5},
    "top_k=True": {"top_k": True},
    "top_k: text": {"top_k": "2"},
    "top_k: None": {"top_k": None},
    "method": {"method": "guess"},
    "method: list": {"method": ["search"]},
    "score": {"score": "median"},
    "score: list": {"score": ["sum"]},
}
GENERATE = {
    "unknown option": {"num_beems": 3},
    "beams=0": {"num_beams": 0},
    "more answers than beams": {"num_beams": 2, "num_return_sequences": 3},
    "new tokens=0": {"max_new_tokens": 0},
    "new tokens=-1": {"max_new_tokens": -1},
    "new tokens: text": {"max_new_tokens": "three"},
    "configuration: text": {"generation_config": "greedy"},
}


def cases(*tables):
    return pytest.mark.parametrize("wrong", [pytest.param(w, id=name) for table in tables for name, w in table.items()])


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    return pipeline("medical-vqa", model=str(save_small_checkpoint(tmp_path_factory.mktemp("hub") / "amif-vqa")))


def assert_refused(call):
    results = []
    result_or_our_error(lambda: results.append(call()))
    assert not results, "no error"


@cases(TEXTS_AND_IMAGES, PAIRS, FORWARD)
def test_forward(model, wrong):
    assert_refused(lambda: model(**(INPUTS | wrong)))


@cases(TEXTS_AND_IMAGES, PAIRS, RANK)
def test_rank_answers(model, wrong):
    assert_refused(lambda: model.rank_answers(**({"answers": ANSWERS} | INPUTS | wrong)))


@cases(TEXTS_AND_IMAGES, PAIRS, GENERATE)
def test_generate(model, wrong):
    assert_refused(lambda: model.generate(**(INPUTS | wrong)))


@cases(TEXTS_AND_IMAGES)
@pytest.mark.parametrize("model_class", [AmifForPreTraining, AgaForPreTraining])
def test_forward_of_pretraining(model_class, wrong):
    config = small_config() if model_class is AmifForPreTraining else AgaConfig(**small_config().to_dict())
    pairs = {"pixel_values": torch.zeros(4, 3, 32, 32)} | {n: INPUTS[n] for n in ("input_ids", "attention_mask")}
    assert_refused(lambda: model_class(config)(**(pairs | wrong)))


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(4), torch.zeros(3, 3).long(), torch.full((4, 3), 4), torch.full((4, 3), -2), [[0, 0, 0]] * 4],
)
def test_hard_negatives(wrong):
    pairs = {"pixel_values": torch.zeros(4, 3, 32, 32)} | {n: INPUTS[n] for n in ("input_ids", "attention_mask")}
    assert_refused(lambda: AmifForPreTraining(small_config())(**pairs, hard_negatives=wrong))


@pytest.mark.parametrize(
    "ids", [None, [], "5", [1.5], [True], ["yes"], [-1], [120], torch.ones(3), torch.tensor([]), {1: 2}, 5]
)
def test_set_knowledge(model, ids):
    before = model.knowledge_ids
    assert_refused(lambda: model.set_knowledge(ids))
    assert model.knowledge_ids is before


@pytest.mark.parametrize(
    "wrong",
    [
        {"vision": None},
        {"vision": 5},
        {"vision": ""},
        {"vision": "no such folder"},
        {"text": None},
        {"text": "no such folder"},
        {"decoder": "no such folder"},
        {"decoder": 5},
        {"image_size": "32"},
        {"image_size": 48.0},
        {"image_size": -8},
        {"image_size": 33},
        {"vision_layers": 1.5},
        {"vision_layers": True},
        {"text_layers": 0},
        {"decoder_layers": "1"},
        {"decoder_layers": 9},
        {"hiden_size": 32},
        {"knowledge_fusion": "mix"},
        {"num_attention_heads": 5},
    ],
    ids=str,
)
def test_from_encoders(tmp_path, wrong):
    config = small_config()
    ViTModel(config.vision_config).save_pretrained(tmp_path / "vision")
    small_model().model.text_model.save_pretrained(tmp_path / "text")
    sources = {"vision": str(tmp_path / "vision"), "text": str(tmp_path / "text")}
    assert_refused(
        lambda: AmifForVisualQuestionAnswering.from_encoders(**(sources | {"num_attention_heads": 4} | wrong))
    )


@pytest.mark.parametrize(
    "wrong", [{"vision_config": {"model_type": "no such"}}, {"text_config": "bert"}, {"text_config": 5}]
)
def test_configuration(wrong):
    assert_refused(lambda: AmifConfig(**wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"text": 5},
        {"text": b"is there"},
        {"text": []},
        {"text": [None]},
        {"text": " "},
        {"text": {"question": "is there"}},
        {"text": "is there", "return_tensors": "tf"},
        {"text": "is there", "return_tensors": 1},
        {"images": []},
        {"images": 5},
        {"images": [None]},
        {"images": "https://example.org/image.png"},
        {"images": torch.zeros(2, 3, 32, 32)},
        {"images": "data:image/png;base64,iVBORw0KGgo="},
        {"images": "iVBORw0KGgo" * 1000},
        {"images": b"\x89PNG"},
        {"images": [torch.zeros(3, 8, 8)] * 2, "text": ["is there"] * 3},
    ],
    ids=lambda wrong: str(wrong)[:60],
)
def test_processor(wrong):
    assert_refused(lambda: small_processor()(**wrong))


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.encode_answers(5),
        lambda p: p.encode_answers("yes"),
        lambda p: p.encode_answers([]),
        lambda p: p.encode_answers([5]),
        lambda p: p.encode_candidates({"yes": 1}),
        lambda p: p.encode_candidates(["..."]),
        lambda p: p.encode_reports(None),
        lambda p: p.encode_reports(["a mass"], max_length=0),
        lambda p: p.encode_reports(["a mass"], max_length=2.5),
        lambda p: p.encode_reports(["a mass"], max_length=None),
        lambda p: p.normalize_answer(None),
        lambda p: AmifProcessor(None, p.tokenizer),
        lambda p: AmifProcessor(p.image_processor, None),
        lambda p: AmifProcessor(p.image_processor, p.tokenizer, answers=5),
        lambda p: AmifProcessor(p.image_processor, p.tokenizer, max_question_length="40"),
        lambda p: AmifProcessor(p.image_processor, p.tokenizer, max_question_length=7.5),
        lambda p: AmifProcessor(p.image_processor, p.tokenizer, lowercase="yes"),
        lambda p: AmifProcessor(p.image_processor, p.tokenizer, abstention_threshold=NAN),
        lambda p: AmifProcessor(p.image_processor, p.tokenizer, abstention_threshold="-1"),
    ],
)
def test_methods_of_the_processor(call):
    assert_refused(lambda: call(small_processor()))


IMAGE = torch.zeros(3, 32, 32, dtype=torch.uint8)
ROW = {"image": IMAGE, "question": "is there a mass?"}


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a(),
        lambda a: a([]),
        lambda a: a("image.png"),
        lambda a: a([ROW, "image.png"]),
        lambda a: a(IMAGE, 5),
        lambda a: a(IMAGE, ["a mass", 5]),
        lambda a: a(IMAGE, "a mass", topk=1),
        lambda a: a(**ROW, top_k=1.5),
        lambda a: a(**ROW, top_k=0),
        lambda a: a(**ROW, top_k=-1),
        lambda a: a(**ROW, top_k=True),
        lambda a: a(**ROW, top_k=None),
        lambda a: a(**ROW, batch_size=0),
        lambda a: a(**ROW, batch_size=2.5),
        lambda a: a(**ROW, candidates=5),
        lambda a: a(**ROW, candidates=[]),
        lambda a: a(**ROW, candidates=[None]),
        lambda a: a(**ROW, candidates=["yes " * 80, "no"]),
        lambda a: a(**ROW, generate="yes"),
        lambda a: a(**ROW, abstain=1),
        lambda a: a(**ROW, abstain=True),
        lambda a: a(**ROW, generate=True, candidates=["yes", "no"]),
        lambda a: a(**ROW, generate=True, generate_kwargs=5),
        lambda a: a(**ROW, generate=True, generate_kwargs={"num_beems": 2}),
        lambda a: a(**ROW, generate_kwargs={"max_new_tokens": 3}),
        lambda a: a(ROW | {"candidates": ["yes"]}, generate=True),
        lambda a: a(ROW | {"candidates": "yes"}),
        lambda a: a(ROW | {"candidates": []}),
        lambda a: a([ROW, ROW | {"top_k": 2}]),
        lambda a: a([ROW | {"generate": True}]),
    ],
)
def test_pipeline(answer, call):
    assert_refused(lambda: call(answer))


def test_right_calls_are_not_refused(model, answer):
    """What the tables change stays right without the change."""
    assert model(**INPUTS, labels=LABELS).loss.isfinite()
    assert model.rank_answers(**INPUTS, answers=ANSWERS, top_k=9).indices.shape == (4, 2)
    assert len(model.generate(**INPUTS, max_new_tokens=2)) == 4
    assert answer(**ROW)[0]["answer"] in CANDIDATES
    model(**(INPUTS | {"attention_mask": INPUTS["attention_mask"].bool()}))
    model(**(INPUTS | {"input_ids": INPUTS["input_ids"].int(), "image_index": INPUTS["image_index"].int()}))
    model(**INPUTS, labels=LABELS.masked_fill(LABELS == 0, -100))
