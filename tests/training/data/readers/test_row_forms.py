"""Rows in the forms of LLaVA and VLMEvalKit, and images in base64: as questions of this package."""

import base64
import json

import pytest
from PIL import Image as Images

from amif.training.data.readers import own_data, row_forms
from amif.training.data.readers.own_data import load_own_data, load_questions


@pytest.fixture
def folder(tmp_path):
    for shade in (7, 9):
        Images.new("L", (4, 4), shade).save(tmp_path / f"{shade}.png")
    return tmp_path


@pytest.fixture
def said(monkeypatch):
    messages = []
    for module in (own_data, row_forms):
        monkeypatch.setattr(module.logger, "warning", messages.append)
    return messages


def turns(*values):
    return [{"from": ("human", "gpt")[place % 2], "value": value} for place, value in enumerate(values)]


def conversations(path, *rows):
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) if path.suffix == ".jsonl" else f"[{','.join(lines)}]")
    return path


CHATS = [
    {"id": 1, "image": "7.png", "conversations": turns("<image>\nIs it CT?", "Yes.", "Where?\n<image>", "Left <b>")},
    {"id": "b", "image": "9.png", "conversations": turns("What is <image>this?", "A scan")},
]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_each_question_of_a_conversation_is_a_row(folder, said, suffix):
    path = conversations(folder / f"chats{suffix}", *CHATS)
    rows = load_own_data(path)["train"]
    assert rows["question"][:] == ["Is it CT?", "Where?", "What is this?"]
    assert rows["answer"][:] == ["Yes.", "Left <b>", "A scan"]
    assert rows["image_id"][:] == ["7.png", "7.png", "9.png"]
    assert rows["question_id"][:] == ["1", "1|2", "b"]
    assert [image.getpixel((0, 0)) for image in rows["image"]] == [7, 7, 9]
    assert said == [f"{path}: 2 conversations are read as 3 questions, and messages count these as rows."]


def test_conversations_keep_their_columns_and_may_end_with_a_question(folder):
    chat = {"scan": "7.png", "organ": "lung", "conversations": turns("One?", "yes", "Two?")}
    asked = load_own_data(conversations(folder / "own.json", chat), image_column="scan")["train"]
    assert (asked["answer"][:], asked["organ"][:]) == (["yes", None], ["lung"] * 2)
    assert asked["question_id"][:] == ["7.png|One?", "7.png|Two?"]
    questions = load_questions(folder / "own.json", image_column="scan")
    assert (questions["question"][:], questions["answer"][:]) == (["One?", "Two?"], [None, None])


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], r"conversation 'bad': \[\] is no list of turns"),
        ("a chat", "conversation 'bad': 'a chat' is no list of turns"),
        (
            turns("Is it?", "yes")[::-1],
            r"conversation 'bad': turn 0 \(counted from 0\) is .*'from': 'gpt'.*`from` as human or user",
        ),
        (
            [*turns("Is it?"), *turns("Is it?")],
            r"conversation 'bad': turn 1 .*'from': 'human'.*`from` as assistant or gpt",
        ),
        ([{"from": "human", "value": None}], r"conversation 'bad': turn 0 .*give a text `value`"),
        (turns("<image>", "yes"), "the question is empty"),
    ],
)
def test_conversations_that_are_none(folder, found, message):
    path = conversations(folder / "own.json", CHATS[0], {"id": "bad", "image": "9.png", "conversations": found})
    with pytest.raises(ValueError, match=rf"own\.json: row 2 \(counted from 0\): {message}"):
        load_own_data(path)
    assert len(load_own_data(path, on_bad_row="skip")["train"]) == 2


def in_base64(folder, shade):
    return base64.b64encode((folder / f"{shade}.png").read_bytes()).decode()


def write_tsv(path, *rows):
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines))
    return path


def test_a_table_of_vlmevalkit_shows_an_image_twice_by_its_index(folder, said):
    rows = [
        {"index": "11", "image": in_base64(folder, 7), "question": "Is it?", "answer": "yes", "category": "presence"},
        {"index": "12", "image": "11", "question": "Where?", "answer": "left", "category": "place"},
        {"index": "13", "image": in_base64(folder, 9), "question": "Is it?", "answer": "no", "category": "presence"},
    ]
    path = write_tsv(folder / "test_med.tsv", *rows)
    dataset = load_own_data(path, question_type_column="category")["test"]
    assert [image.getpixel((0, 0)) for image in dataset["image"]] == [7, 7, 9]
    first, second, third = dataset["image_id"]
    assert first == second != third
    assert dataset["question_id"][:] == ["11", "12", "13"]
    assert dataset["question_type"][:] == ["presence", "place", "presence"]
    assert not said


def test_an_index_beside_paths_is_no_question_id(folder, said):
    rows = [{"index": "7.png", "image": f"{shade}.png", "question": "Is it?", "answer": "yes"} for shade in (7, 9)]
    dataset = load_own_data(write_tsv(folder / "own.tsv", *rows))["train"]
    assert dataset["question_id"][:] == ["7.png|Is it?", "9.png|Is it?"]
    assert said == [f"{folder / 'own.tsv'}: columns that are not used: 'index'."]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_images_in_base64_stand_beside_paths_in_any_table(folder, prefix):
    rows = [{"image": name, "question": "Is it?", "answer": "yes"} for name in (prefix + in_base64(folder, 7), "9.png")]
    (folder / "own.json").write_text(json.dumps(rows))
    dataset = load_own_data(folder / "own.json")["train"]
    assert [image.getpixel((0, 0)) for image in dataset["image"]] == [7, 9]
    assert dataset["image_id"][1] == "9.png"
    assert len(dataset["image_id"][0]) == 16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda text: "data:image/png;base64," + text[:-3], "'data:image/png;base64.* is neither a path nor a whole"),
        (lambda text: text + "A" * 5_000, "is neither a path nor a whole image in base64: write it again"),
        (lambda text: text[:64], "cannot read the image embedded in the data"),
    ],
)
def test_damaged_base64(folder, make, message):
    row = {"image": "9.png", "question": "Is it?", "answer": "yes"}
    (folder / "own.json").write_text(json.dumps([row, row | {"image": make(in_base64(folder, 7))}]))
    with pytest.raises(ValueError, match=rf"own\.json: row 1 .*{message}") as error:
        load_own_data(folder / "own.json")
    assert len(str(error.value)) < 400
