import copy
import json
import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image
from remote_loading import run_without_amif
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BertTokenizer,
    BitImageProcessor,
    CLIPImageProcessor,
    PreTrainedTokenizerFast,
    ViTImageProcessor,
)
from transformers.utils import logging

from amif.modeling_amif import configuration_amif
from amif.processing_amif import AmifProcessor, normalize_answer, to_rgb
from amif.processing_amif.images_amif import MAX_VIEWS

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["is", "there", "a", "mass", "in", "the", "left", "lung", "yes", "no", "right", "Yes"],
]
SIZE = {"height": 8, "width": 8}

REMOTE = """
import json
from transformers import AutoProcessor
processor = AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
inputs = processor(images=sys.argv[2], text="Is there a MASS")
print(json.dumps({
    "inputs": {name: value.tolist() for name, value in inputs.items()},
    "answers": processor.answers,
    "answer_ids": processor.encode_answers()["input_ids"].tolist(),
    "normalized": processor.normalize_answer("Chest X-ray."),
    "module": type(processor).__module__,
}))
"""


@pytest.fixture
def tokenizer():
    return BertTokenizer(vocab={word: place for place, word in enumerate(WORDS)}, do_lower_case=False)


@pytest.fixture
def processor(tokenizer):
    return AmifProcessor(ViTImageProcessor(size=SIZE), tokenizer, answers=["yes", "left lung"], max_question_length=6)


def _image(seed, mode="RGB"):
    values = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def _words(processor, ids):
    return processor.tokenizer.convert_ids_to_tokens(ids)


@pytest.mark.parametrize(
    "image_processor",
    [
        ViTImageProcessor(size=SIZE),
        CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=SIZE),
        BitImageProcessor(size={"shortest_edge": 8}, crop_size=SIZE),
    ],
    ids=lambda image_processor: type(image_processor).__name__,
)
def test_pixel_values_are_the_image_processors_own(image_processor, tokenizer):
    images = [_image(0), _image(1, "L"), _image(2, "RGBA"), np.arange(64, dtype=np.uint16).reshape(8, 8)]
    pixel_values = AmifProcessor(image_processor, tokenizer)(images=images)["pixel_values"]
    assert pixel_values.shape == (4, 3, 8, 8)
    assert pixel_values.dtype == torch.float32
    for row, image in zip(pixel_values, images, strict=True):
        expected = image_processor(images=to_rgb(image), return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(row, expected)


def test_each_image_is_encoded_once(processor, tmp_path):
    first, second = _image(0), _image(1)
    second.save(tmp_path / "p.png")
    path = tmp_path / "p.png"
    inputs = processor(images=[first, path, first, str(path)], text=["is there a mass"] * 4)
    assert inputs["pixel_values"].shape[0] == 2
    assert inputs["image_index"].tolist() == [0, 1, 0, 1]
    assert inputs["image_index"].dtype == torch.int64
    torch.testing.assert_close(inputs["pixel_values"][1:], processor(images=second)["pixel_values"])


def test_one_image_goes_with_every_question(processor):
    inputs = processor(images=_image(0), text=["is there", "a mass", "in the left lung"])
    assert inputs["pixel_values"].shape[0] == 1
    assert inputs["image_index"].tolist() == [0, 0, 0]
    assert inputs["input_ids"].shape[0] == 3


def test_one_question_goes_with_every_image(processor):
    inputs = processor(images=[_image(0), _image(1)], text="is there a mass")
    assert inputs["image_index"].tolist() == [0, 1]
    assert inputs["input_ids"].shape == (2, 6)
    assert inputs["input_ids"][0].tolist() == inputs["input_ids"][1].tolist()


def test_several_images_of_one_question(processor):
    """Each is encoded once; a list of one image is that image."""
    first, second, third = map(_image, range(3))
    inputs = processor(images=[[first, second], third, [second], (third, first, first)], text=["is there a mass"] * 4)
    assert inputs["image_index"].tolist() == [[0, 1, -1], [2, -1, -1], [1, -1, -1], [2, 0, 0]]
    assert inputs["image_index"].dtype == torch.int64
    torch.testing.assert_close(inputs["pixel_values"], processor(images=[first, second, third])["pixel_values"])
    assert processor(images=[[first, second]], text=["is there", "a mass"])["image_index"].tolist() == [[0, 1], [0, 1]]
    assert processor(images=[[first], second], text="is there")["image_index"].tolist() == [0, 1]
    for images in ([[first] * 5], [first, []]):
        with pytest.raises(ValueError, match=f"a question has {len(images[-1])} images: give it 1 to 4"):
            processor(images=images)
    assert (MAX_VIEWS, configuration_amif.MAX_VIEWS) == (4, 4)


def test_images_alone_and_text_alone(processor):
    assert set(processor(images=_image(0))) == {"pixel_values", "image_index"}
    assert set(processor(text="is there")) == {"input_ids", "attention_mask"}


def test_keys_are_the_models_inputs(processor):
    inputs = processor(images=_image(0), text="is there")
    assert list(inputs) == processor.model_input_names


def test_padding_and_mask(processor):
    inputs = processor(text=["mass", "is there a mass"])
    assert _words(processor, inputs["input_ids"][0]) == ["[CLS]", "mass", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert inputs["input_ids"].dtype == inputs["attention_mask"].dtype == torch.int64


def test_cls_stays_first_with_a_left_padding_tokenizer(processor):
    processor.tokenizer.padding_side = "left"
    assert processor(text=["mass", "is there a"])["input_ids"][:, 0].tolist() == [WORDS.index("[CLS]")] * 2
    assert processor.encode_answers()["input_ids"][:, 0].tolist() == [WORDS.index("[CLS]")] * 2


def test_long_question_keeps_sep(processor):
    ids = processor(text="is there a mass in the left lung")["input_ids"][0]
    assert _words(processor, ids) == ["[CLS]", "is", "there", "a", "mass", "[SEP]"]


def test_lowercase(processor, tokenizer):
    kept = AmifProcessor(processor.image_processor, tokenizer, lowercase=False)
    assert _words(processor, processor(text="Yes")["input_ids"][0])[1] == "yes"
    assert _words(kept, kept(text="Yes")["input_ids"][0])[1] == "Yes"


def test_questions_are_read_in_plain_characters(processor):
    plain = processor(text="Is there a mass?")["input_ids"]
    for text in ("Ｉｓ　ｔｈｅｒｅ　ａ　ｍａｓｓ？", "Is the\u200bre a mass?\ufeff"):
        assert torch.equal(processor(text=text)["input_ids"], plain)
    assert torch.equal(*(processor(text=text)["input_ids"] for text in ("st\u00e9nose", "ste\u0301nose")))


def test_numpy_and_lists(processor):
    tensors = processor(images=_image(0), text="mass")
    arrays = processor(images=_image(0), text="mass", return_tensors="np")
    lists = processor(images=_image(0), text="mass", return_tensors=None)
    for name, tensor in tensors.items():
        assert isinstance(arrays[name], np.ndarray)
        np.testing.assert_array_equal(arrays[name], tensor.numpy())
        assert isinstance(lists[name], list)


def test_encode_answers_keeps_order_duplicates_and_case(processor, tokenizer):
    answers = ["left lung", "yes", "Yes", "in the left lung", "yes"]
    encoded = processor.encode_answers(answers)
    assert encoded["input_ids"].shape == (5, 6)
    assert encoded["input_ids"].dtype == torch.int64
    assert list(encoded) == ["input_ids", "attention_mask"]
    for ids, mask, answer in zip(encoded["input_ids"], encoded["attention_mask"], answers, strict=True):
        assert ids[mask.bool()].tolist() == tokenizer(answer)["input_ids"]
        assert ids[~mask.bool()].eq(tokenizer.pad_token_id).all()


def test_answers_are_never_cut(processor):
    processor(text="is there a mass in the left lung")
    assert processor.encode_answers(["in the left lung in the right lung"])["input_ids"].shape == (1, 10)


def test_candidates_are_encoded_as_training_encodes_answers(processor):
    candidates = processor.encode_candidates(["Left, lung.", "YES"])
    assert candidates["input_ids"].tolist() == processor.encode_answers(["left lung", "yes"])["input_ids"].tolist()
    assert processor.encode_candidates()["input_ids"].tolist() == processor.encode_answers()["input_ids"].tolist()
    with pytest.raises(ValueError, match="holds no word or number"):
        processor.encode_candidates(["yes", "?"])


@pytest.fixture
def tokenized(monkeypatch):
    """The texts of each call of a tokenizer."""
    calls, call = [], BertTokenizer.__call__

    def counting(self, text, *args, **kwargs):
        calls.append(text)
        return call(self, text, *args, **kwargs)

    monkeypatch.setattr(BertTokenizer, "__call__", counting)
    return calls


def test_candidates_are_tokenized_once_for_all_batches(processor, tokenized):
    answers = ["No.", "yes", "Left lung"]
    first = processor.encode_candidates(answers)
    again, elsewhere = processor.encode_candidates(tuple(answers)), copy.deepcopy(processor)
    assert tokenized == [["no", "yes", "left lung"]]
    assert list(again) == ["input_ids", "attention_mask"]
    for name, tensor in again.items():
        assert torch.equal(tensor, first[name])
        assert torch.equal(tensor, elsewhere.encode_candidates(answers)[name])
    expected = first["input_ids"].tolist()
    first["input_ids"].zero_()
    assert processor.encode_candidates(answers)["input_ids"].tolist() == expected
    assert pickle.loads(pickle.dumps(processor)).answers == processor.answers


def test_other_candidates_or_another_tokenizer_are_tokenized_anew(processor, tokenized):
    assert processor.encode_candidates().input_ids[:, 1:3].tolist() == [[13, 3], [11, 12]]
    processor.answers = ["no", "left lung"]
    assert processor.encode_candidates().input_ids[:, 1:3].tolist() == [[14, 3], [11, 12]]
    processor.tokenizer.add_tokens(["left lung"])
    assert processor.encode_candidates().input_ids[:, 1].tolist() == [14, len(WORDS)]
    words = [*WORDS[:5], *reversed(WORDS[5:])]
    processor.tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(words)})
    assert processor.encode_candidates().input_ids[:, 1].tolist() == [words.index("no"), words.index("left")]


def test_encode_answers_defaults_to_the_processors_own(processor):
    assert (
        processor.encode_answers()["input_ids"].tolist()
        == processor.encode_answers(["yes", "left lung"])["input_ids"].tolist()
    )


def test_decode_brings_answers_back(processor):
    ids = processor.encode_answers()["input_ids"]
    assert processor.batch_decode(ids, skip_special_tokens=True) == ["yes", "left lung"]


def test_normalize_answer_is_the_one_normaliser(processor):
    assert processor.normalize_answer("Chest X-ray.") == normalize_answer("Chest X-ray.") == "chest xray"


def test_save_and_load(processor, tmp_path):
    processor.answers = [f"answer {place}" for place in range(4000)]
    processor.lowercase = False
    processor.save_pretrained(tmp_path)
    loaded = AmifProcessor.from_pretrained(tmp_path)
    assert loaded.answers == processor.answers
    assert (loaded.max_question_length, loaded.lowercase) == (6, False)
    before = processor(images=_image(0), text="is there a mass in the left lung")
    after = loaded(images=_image(0), text="is there a mass in the left lung")
    for name in processor.model_input_names:
        torch.testing.assert_close(after[name], before[name])


def test_no_answers_are_saved_as_none(processor, tmp_path):
    processor.answers = None
    processor.save_pretrained(tmp_path)
    assert AmifProcessor.from_pretrained(tmp_path).answers is None


def test_parts_load_alone_from_the_processors_folder(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is type(processor.image_processor)
    assert AutoTokenizer.from_pretrained(tmp_path)("mass")["input_ids"] == processor.tokenizer("mass")["input_ids"]


def test_loads_by_remote_code_where_amif_is_absent(processor, tmp_path):
    folder, image = tmp_path / "checkpoint", tmp_path / "p.png"
    processor.save_pretrained(folder)
    _image(0).save(image)
    auto_map = json.loads((folder / "processor_config.json").read_text())["auto_map"]
    assert auto_map == {"AutoProcessor": "processing_amif.AmifProcessor"}
    result = json.loads(run_without_amif(REMOTE, folder, image).splitlines()[-1])
    assert result["module"].startswith("transformers_modules")
    assert result["answers"] == ["yes", "left lung"]
    assert result["answer_ids"] == processor.encode_answers()["input_ids"].tolist()
    assert result["normalized"] == "chest xray"
    for name, value in processor(images=image, text="is there a mass").items():
        torch.testing.assert_close(torch.tensor(result["inputs"][name]), value)


def test_real_parts(models_dir, data_dir):
    image_processor = AutoImageProcessor.from_pretrained(models_dir / "dinov2-small")
    processor = AmifProcessor(image_processor, AutoTokenizer.from_pretrained(models_dir / "minilm-l6"))
    image = next((data_dir / "vqa_rad" / "images").glob("*.jpg"))
    inputs = processor(images=[image, image], text=["Is there a mass?", "What is " + "very " * 60 + "long?"])
    assert inputs["pixel_values"].shape == (1, 3, 224, 224)
    expected = image_processor(images=Image.open(image).convert("RGB"), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(inputs["pixel_values"], expected)
    assert inputs["input_ids"].shape == (2, 40)
    assert inputs["input_ids"][:, 0].tolist() == [101, 101]
    assert inputs["input_ids"][1, -1] == 102
    assert processor.decode(inputs["input_ids"][0], skip_special_tokens=True) == "is there a mass?"


def test_lengths_that_do_not_pair_up(processor):
    with pytest.raises(ValueError, match=r"2 images and 3 questions .* pass as many"):
        processor(images=[_image(0), _image(1)], text=["a"] * 3)


@pytest.mark.parametrize("question", ["", "  ", "\u200b", " \ufeff\x00", None, 3])
def test_question_that_is_no_text(processor, question):
    with pytest.raises(ValueError, match="question 1 is"):
        processor(text=["a mass", question])


@pytest.mark.parametrize("inputs", [{}, {"images": []}, {"text": []}])
def test_nothing_to_process(processor, inputs):
    with pytest.raises(ValueError, match="pass"):
        processor(**inputs)


@pytest.mark.parametrize(
    ("answers", "message"),
    [([], "empty"), ("yes", "put it in a list"), (["yes", ""], "answer 1"), (["yes", "\u200b"], "answer 1")],
)
def test_answers_that_are_no_list_of_texts(processor, answers, message):
    with pytest.raises(ValueError, match=message):
        processor.encode_answers(answers)
    with pytest.raises(ValueError, match=message):
        AmifProcessor(processor.image_processor, processor.tokenizer, answers=answers)


def test_no_answers_to_encode(processor):
    processor.answers = None
    with pytest.raises(ValueError, match=r"pass answers=, or set processor\.answers"):
        processor.encode_answers()


def test_question_length_without_room(processor):
    with pytest.raises(ValueError, match="at least 3"):
        AmifProcessor(processor.image_processor, processor.tokenizer, max_question_length=2)


def _word_level(**special_tokens):
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", **special_tokens)


def test_tokenizer_without_special_tokens(processor):
    with pytest.raises(ValueError, match="no sep_token, pad_token: use one of a BERT-like model"):
        AmifProcessor(processor.image_processor, _word_level(cls_token="[CLS]"))


def test_tokenizer_that_does_not_write_special_tokens(processor):
    tokenizer = _word_level(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")
    with pytest.raises(ValueError, match="does not write a text as"):
        AmifProcessor(processor.image_processor, tokenizer)


def test_reports_are_normalised_and_cut(processor):
    encoded = processor.encode_reports(["Is there: a MASS.", "the left-lung?"])
    assert _words(processor, encoded["input_ids"][0]) == ["[CLS]", "is", "there", "a", "mass", "[SEP]"]
    assert _words(processor, encoded["input_ids"][1]) == ["[CLS]", "the", "left", "lung", "[SEP]", "[PAD]"]
    assert encoded["attention_mask"].sum(1).tolist() == [6, 5]
    assert processor.encode_reports(["a " * 500])["input_ids"].shape == (1, 120)
    cut = processor.encode_reports(["is there a mass"], max_length=4)["input_ids"][0]
    assert _words(processor, cut) == ["[CLS]", "is", "there", "[SEP]"]


def test_a_report_without_words_is_refused(processor):
    with pytest.raises(ValueError, match="report 1 is ''"):
        processor.encode_reports(["mass", "___."])


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (["mass", "zebra", "giraffe"], r"writes different candidates alike.*'zebra'='giraffe'"),
        (["mass", "zebra"], "knows no word: 'zebra'"),
        (["mass", "Mass.", "left lung"], None),
    ],
)
def test_candidates_that_the_tokenizer_cannot_tell_apart_are_named(processor, caplog, candidates, message):
    library = logging.get_logger("transformers")
    library.addHandler(caplog.handler)
    try:
        processor.encode_candidates(candidates)
    finally:
        library.removeHandler(caplog.handler)
    assert re.search(message, caplog.text) if message else not caplog.text


OPTIONS = [
    ({"padding": "max_length", "max_length": 8}, (2, 8), (1, 3, 8, 8)),
    ({"text_kwargs": {"padding": "max_length", "max_length": 8}}, (2, 8), (1, 3, 8, 8)),
    ({"max_length": 4}, (2, 4), (1, 3, 8, 8)),
    ({"truncation": False}, (2, 10), (1, 3, 8, 8)),
    ({"pad_to_multiple_of": 5, "truncation": False}, (2, 10), (1, 3, 8, 8)),
    ({"size": {"height": 4, "width": 6}}, (2, 6), (1, 3, 4, 6)),
    ({"images_kwargs": {"do_resize": False}}, (2, 6), (1, 3, 10, 12)),
]


@pytest.mark.parametrize(("options", "tokens", "pixels"), OPTIONS, ids=lambda value: str(value))
def test_options_reach_their_part(processor, options, tokens, pixels):
    questions = ["is there a mass in the left lung", "mass"]
    inputs = processor(images=_image(0), text=questions, **options)
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == tokens
    assert inputs["pixel_values"].shape == pixels
    flat = options.get("text_kwargs", options)
    if "images_kwargs" not in options and "size" not in options:
        own = {"padding": True, "truncation": True, "max_length": 6, **flat}
        assert inputs["input_ids"].tolist() == processor.tokenizer(questions, **own)["input_ids"]


def test_options_common_to_both_parts(processor):
    inputs = processor(images=_image(0), text="mass", common_kwargs={"return_tensors": "np"})
    assert all(isinstance(value, np.ndarray) for value in inputs.values())


def test_token_types_come_where_asked_for(processor):
    inputs = processor(text=["mass", "is there"], return_token_type_ids=True)
    assert inputs["token_type_ids"].tolist() == [[0] * 4] * 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"paddding": True}, TypeError, "no option paddding"),
        ({"videos_kwargs": {"fps": 1}}, TypeError, "no option videos_kwargs"),
        ({"text_kwargs": {"return_tensors": "np"}}, TypeError, "give it to the call"),
        ({"padding_side": "left"}, ValueError, "padding_side must be right"),
        ({"text_kwargs": {"padding_side": "left"}}, ValueError, "padding_side must be right"),
        ({"return_overflowing_tokens": True}, ValueError, "several rows of a question"),
    ],
    ids=lambda value: str(value),
)
def test_options_that_are_not_honoured_are_refused(processor, options, error, message):
    with pytest.raises(error, match=message):
        processor(images=_image(0), text="mass", **options)


def test_saved_options_of_a_tokenizer_do_not_count(processor, tokenizer, tmp_path):
    tokenizer.init_kwargs |= {"max_length": 512, "padding_side": "left", "truncation": False}
    tokenizer.save_pretrained(tmp_path)
    saved = AmifProcessor(processor.image_processor, AutoTokenizer.from_pretrained(tmp_path), max_question_length=6)
    assert saved(text=["is there a mass in the left lung", "mass"])["input_ids"].shape == (2, 6)
    assert saved(text=["is there", "mass"])["input_ids"][:, 0].tolist() == [WORDS.index("[CLS]")] * 2


def test_what_is_saved_equals_what_is_in_memory(processor, tmp_path):
    before = processor.to_dict()
    processor.save_pretrained(tmp_path)
    saved, after = AmifProcessor.from_pretrained(tmp_path).to_dict(), processor.to_dict()
    # Transformers notes the processor's code in the image processor too, whose object is the caller's.
    for settings in (saved, after):
        assert settings["image_processor"].pop("auto_map") == before["auto_map"]
    assert saved == after == before
    assert before["auto_map"] == {"AutoProcessor": "processing_amif.AmifProcessor"}


def test_choices_of_several_questions_are_encoded_once_and_told_apart(processor):
    choices = [["YES", "no"], ["mass", "lung", "no"]]
    texts, answers, mask = processor.encode_choices(choices)
    assert texts == ["YES", "no", "mass", "lung"]
    assert mask.tolist() == [[True, True, False, False], [False, True, True, True]]
    assert answers["input_ids"].tolist() == processor.encode_candidates(texts)["input_ids"].tolist()
    for wrong in ("yes", [], ["yes", "!"], [""]):
        with pytest.raises(ValueError, match=r"single string|list of choices is empty|no word|not empty"):
            processor.encode_choices([["yes"], wrong])
