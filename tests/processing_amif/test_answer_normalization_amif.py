import json
import random
import sys
import unicodedata

import numpy as np
import pytest
from transformers import AutoTokenizer

from amif.processing_amif import normalize_answer
from amif.processing_amif.answer_normalization_amif import plain_characters


def _vqa_rad_answers(data_dir):
    return [row["answer"] for row in json.loads((data_dir / "vqa_rad" / "trainset.json").read_text())]


def _slake_answers(data_dir):
    rows = json.loads((data_dir / "slake" / "train.json").read_text(encoding="utf-8"))
    return [row["answer"] for row in rows if row["q_lang"] == "en" and row["answer"]]


def _vqa_med_answers(data_dir):
    file = data_dir / "vqa_med_2019" / "ImageClef-2019-VQA-Med-Training" / "All_QA_Pairs_train.txt"
    return [line.split("|")[2] for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" Yes ", "yes"),
        ("Heart \tlungs", "heart lungs"),
        ("patients a and b: \xa0hematoma", "patients a and b hematoma"),
        ("Chest X-Ray", "chest xray"),
        ("chest x ray.", "chest xray"),
        ("X-Rays", "xrays"),
        ("max rays", "max rays"),
        ("MR - Flair", "mr-flair"),
        ("edema – CHF", "edema-chf"),
        ("ring-enhancing", "ring-enhancing"),
        ("MRI/FLAIR", "mri/flair"),
        ("bone tumor/ chordoma", "bone tumor/chordoma"),
        ("3.4 cm", "3.4 cm"),
        ("2.5cm x 1.7cm x 1.6cm", "2.5cm x 1.7cm x 1.6cm"),
        (".5 cm", ".5 cm"),
        ("L2.", "l2"),
        ("vs. hemorrhage", "vs hemorrhage"),
        ("Small Bowel,Rectum", "small bowel rectum"),
        ("1,000 ml", "1000 ml"),
        ("crohn's", "crohns"),
        ("crohn’s", "crohns"),
        ('"secondary" (iv)', "secondary iv"),
        ("~15 minutes", "15 minutes"),
        ("5%", "5%"),
        ("Air?", "air"),
    ],
)
def test_text(answer, expected):
    assert normalize_answer(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("st\u00e9nose", "st\u00e9nose"),
        ("ste\u0301nose", "st\u00e9nose"),
        ("STE\u0301NOSE", "st\u00e9nose"),
        ("e'\u0301tat", "\u00e9tat"),
        ("left\u200b lung\ufeff", "left lung"),
        ("le\u00adft", "left"),
        ("left\u200d\u2060\u202e", "left"),
        ("heart\ufe0f", "heart"),
        ("\U000e0061yes", "yes"),
        ("y\x00es\x7f", "yes"),
        ("yes\x85no", "yes no"),
        ("ＹＥＳ！", "yes"),
        ("ＭＲＩ／ＦＬＡＩＲ", "mri/flair"),
        ("Ｘ－ｒａｙ", "xray"),
        ("３．４　ｃｍ", "3.4 cm"),
        ("５％", "5%"),
        ("１，０００ ml", "1000 ml"),
        ("﹙iv﹚﹐ no﹒", "iv no"),
        ("正常。", "正常"),
        ("肝、脾", "肝 脾"),
        ("2、300", "2 300"),
        ("ﾊｲ", "ハイ"),
        ("ｶﾞﾝ", "ガン"),
        ("10²", "10²"),
        ("½ lobe", "½ lobe"),
        ("H₂O", "h₂o"),
        ("ﬁbrosis", "ﬁbrosis"),
        ("№ 5", "№ 5"),
    ],
)
def test_characters_that_look_alike_are_one_and_others_stay(answer, expected):
    assert normalize_answer(answer) == expected


UNSEEN = [
    "\u200b",
    "\u200b\u200c\u200d\u2060",
    "\ufeff",
    "\u00ad",
    "\ufe0f",
    "\u034f",
    "\u3164",
    "\uffa0",
    "\x00",
    "\x7f",
    " \u202e ",
]


@pytest.mark.parametrize("text", [*UNSEEN, "\u3000", "。", "？", "．．．"])
def test_what_shows_nothing_is_no_answer(text):
    with pytest.raises(ValueError, match="holds no word or number"):
        normalize_answer(text)


def test_every_character_has_one_form():
    """Whatever its width, and however its accents are written; twice is once."""
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        if unicodedata.category(character) in ("Cn", "Co", "Cs"):  # of nobody, of private use, half a letter
            continue
        plain = plain_characters(character)
        assert plain_characters(plain) == plain, hex(number)
        assert plain_characters(unicodedata.normalize("NFD", character)) == plain, hex(number)
        assert not any(unicodedata.category(one) == "Cf" for one in plain), hex(number)
        answer = f"a{character}b{character}"
        assert normalize_answer(normalize_answer(answer)) == normalize_answer(answer), hex(number)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(3, "3"), (3.0, "3"), (3.4, "3.4"), ("3.0", "3.0"), (np.int64(12), "12"), (np.float32(0.5), "0.5")],
)
def test_numbers(answer, expected):
    assert normalize_answer(answer) == expected


@pytest.mark.parametrize("answer", [None, True, ["yes"], {"answer": "yes"}])
def test_other_types_are_named(answer):
    with pytest.raises(TypeError) as error:
        normalize_answer(answer)
    assert repr(answer) in str(error.value)


@pytest.mark.parametrize("answer", ["?" * 9999, b"\x00\xff" * 9999, ["yes"] * 9999])
def test_long_answers_are_not_repeated_whole(answer):
    with pytest.raises((TypeError, ValueError)) as error:
        normalize_answer(answer)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("answer", ["", " \t", "?", "...", float("nan"), float("inf")])
def test_nothing_to_compare_is_named(answer):
    with pytest.raises(ValueError, match="the answer") as error:
        normalize_answer(answer)
    assert repr(answer) in str(error.value)


def test_idempotent_on_random_strings():
    pieces = [*"x ray s-/.,'\"%35?;:()#*~–’\t", "  ", " - ", "x-ray"]
    choose = random.Random(0)
    for _ in range(20_000):
        text = "a" + "".join(choose.choices(pieces, k=choose.randint(1, 12)))
        once = normalize_answer(text)
        assert normalize_answer(once) == once, text


@pytest.mark.parametrize("answers", [_vqa_rad_answers, _slake_answers, _vqa_med_answers])
def test_idempotent_on_real_answers(answers, data_dir):
    for answer in answers(data_dir):
        once = normalize_answer(answer)
        assert once
        assert normalize_answer(once) == once, answer


@pytest.mark.parametrize(("answers", "distinct"), [(_vqa_rad_answers, 470), (_slake_answers, 218)])
def test_merges_few_real_answers(answers, distinct, data_dir):
    """Distinct lower-cased answers are 476 and 219; the merged ones differ in spelling and punctuation alone."""
    assert len({normalize_answer(answer) for answer in answers(data_dir)}) == distinct


@pytest.mark.parametrize("answers", [_vqa_rad_answers, _slake_answers])
def test_decoded_answer_equals_its_reference(answers, data_dir, models_dir):
    tokenizer = AutoTokenizer.from_pretrained(models_dir / "minilm-l6")
    for answer in {str(answer) for answer in answers(data_dir)}:
        decoded = tokenizer.decode(tokenizer(answer)["input_ids"], skip_special_tokens=True)
        assert normalize_answer(decoded) == normalize_answer(answer)
