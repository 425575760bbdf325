"""Rows that cannot be used, as they come in people's own files: each is named, or skipped and listed."""

import csv
import json

import numpy as np
import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as Images

from amif.training.data import load_questions, load_vqa_dataset
from amif.training.data.readers import bad_rows as bad_rows_module
from amif.training.data.readers.bad_rows import BadRows, RowSource, missing_images
from amif.training.data.readers.own_data import load_own_data

GOOD = {"image": "good.png", "question": "Is it?", "answer": "yes"}


@pytest.fixture
def folder(tmp_path):
    Images.new("L", (4, 4), 7).save(tmp_path / "good.png")
    return tmp_path


def write(folder, *rows):
    """A JSON file whose row 0 is good, so that a message that names row 1 counts."""
    (folder / "own.json").write_text(json.dumps([GOOD, *rows]))
    return folder / "own.json"


def assert_named_and_skipped(path, message, caplog, kind=ValueError):
    with pytest.raises(kind, match=rf"own\.json: row 1 \(counted from 0\): .*{message}.* on_bad_row='skip'"):
        load_own_data(path)
    caplog.clear()
    dataset = load_own_data(path, on_bad_row="skip")["train"]
    assert dataset["question"] == ["Is it?"]
    (listed,) = [record.message for record in caplog.records if "bad rows are left out" in record.message]
    assert listed.startswith("1 bad rows are left out:")
    assert "own.json: row 1" in listed


@pytest.fixture(autouse=True)
def _messages_reach_caplog(monkeypatch):
    monkeypatch.setattr(bad_rows_module.logger, "propagate", True)
    monkeypatch.setattr(bad_rows_module.logger.parent, "propagate", True)


def truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Images.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-200])


def bomb(path):
    # 1 bit a pixel and all alike: a small file of 200 million pixels.
    Images.new("1", (20_000, 10_000)).save(path, compression="group4")


def with_nan(path):
    Images.fromarray(np.array([[0.5, np.nan]], np.float32)).save(path)


def with_infinity(path):
    Images.fromarray(np.array([[0.5, np.inf]], np.float32)).save(path)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("truncated.jpg", truncated, "truncated.jpg.*truncated"),
        ("zero.jpg", lambda path: path.touch(), "zero.jpg.*no image"),
        ("text.jpg", lambda path: path.write_text("This is no image."), "text.jpg.*no image"),
        ("folder.jpg", lambda path: path.mkdir(), "folder.jpg"),
        ("bomb.tiff", bomb, "bomb.tiff.*exceeds limit"),
        ("nan.tiff", with_nan, "nan.tiff holds NaN or infinity: replace"),
        ("infinity.tiff", with_infinity, "infinity.tiff holds NaN or infinity"),
    ],
)
def test_damaged_images(folder, name, make, message, caplog):
    make(folder / name)
    assert_named_and_skipped(write(folder, {**GOOD, "image": name}), message, caplog)


def test_a_missing_image(folder, caplog):
    path = write(folder, {**GOOD, "image": "gone.png"})
    assert_named_and_skipped(path, r"gone\.png does not exist \(1 of 2 rows", caplog, FileNotFoundError)


@pytest.mark.parametrize("image", [None, "", 3.5, ["good.png"], True, "a\0b"])
def test_an_image_that_is_no_path(folder, image, caplog):
    kind = FileNotFoundError if image == 3.5 else ValueError
    assert_named_and_skipped(write(folder, {**GOOD, "image": image}), "", caplog, kind)


def test_images_of_one_pixel_and_of_16_bits_are_taken(folder):
    Images.new("L", (1, 1), 9).save(folder / "one.png")
    Images.fromarray(np.array([[0, 4095]], np.uint16)).save(folder / "deep.png")
    rows = [{**GOOD, "image": name, "question": name} for name in ("one.png", "deep.png")]
    assert len(load_own_data(write(folder, *rows))["train"]) == 3


@pytest.mark.parametrize("question", [None, "", " \n", ["a", "b"], {"a": 1}, False, "\ud800"])
def test_questions_that_are_none(folder, question, caplog):
    assert_named_and_skipped(write(folder, {**GOOD, "question": question}), "", caplog)


@pytest.mark.parametrize("answer", [["yes", "no"], [], {"a": 1}, True, "...", "?", float("inf")])
def test_answers_that_are_none(folder, answer, caplog):
    assert_named_and_skipped(write(folder, {**GOOD, "answer": answer}), "", caplog)


def test_answers_that_are_numbers_or_unknown(folder):
    answers = [3, 2.5, 0, None, "", float("nan")]
    rows = [{**GOOD, "question": f"{place}?", "answer": answer} for place, answer in enumerate(answers)]
    assert load_own_data(write(folder, *rows))["train"]["answer"] == ["yes", "3", "2.5", "0", None, None, None]


def test_an_answer_type_that_is_none(folder, caplog):
    assert_named_and_skipped(write(folder, {**GOOD, "answer_type": "maybe"}), "'maybe' is none of open", caplog)


def test_duplicated_question_ids(folder, caplog):
    rows = [{**GOOD, "question_id": 7}, {**GOOD, "question": "Other?", "question_id": "7"}]
    (folder / "own.json").write_text(json.dumps(rows))
    assert_named_and_skipped(folder / "own.json", r"question id '7' is also that of row 0 of .*own\.json", caplog)


def test_question_ids_differ_between_the_files_of_a_split(folder):
    for name in ("train_1.json", "train_2.json"):
        (folder / name).write_text(json.dumps([{**GOOD, "question_id": "1"}]))
    with pytest.raises(ValueError, match=r"train_2\.json: row 0 .*row 0 of .*train_1\.json"):
        load_own_data(folder)


def test_repeated_questions_without_ids_are_told_apart(folder):
    dataset = load_own_data(write(folder, GOOD, {**GOOD, "answer": "no"}))["train"]
    assert dataset["question_id"] == ["good.png|Is it?", "good.png|Is it?|2", "good.png|Is it?|3"]


def test_one_image_id_for_two_images(folder, caplog):
    Images.new("L", (4, 4), 9).save(folder / "other.png")
    rows = [{**GOOD, "image_id": "1"}, {**GOOD, "image": "other.png", "image_id": "1"}]
    (folder / "own.json").write_text(json.dumps(rows))
    assert_named_and_skipped(folder / "own.json", "image id '1' names .*other.png here and .*good.png", caplog)


def test_embedded_images_are_checked_too(tmp_path):
    Images.new("L", (4, 4), 7).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    cells = [{"bytes": data, "path": None} for data in (content, content[:40], b"text")]
    features = Features({"image": Image(decode=False), "question": Value("string")})
    rows = {"image": [*cells, None], "question": list("abcd")}
    Dataset.from_dict(rows, features=features).cast_column("image", Image()).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(ValueError, match=r"test\.parquet: row 3 .*image is empty"):
        load_own_data(tmp_path)
    dataset = load_own_data(tmp_path, on_bad_row="skip")["test"]
    assert dataset["question"] == ["a"]
    assert dataset[0]["image"].getpixel((0, 0)) == 7


def test_cells_behind_the_last_column(folder):
    (folder / "own.csv").write_text("image,question,answer\ngood.png,Is it, or not?,yes\n")
    with pytest.raises(ValueError, match=r"own\.csv: row 0 .*\['yes'\] stand behind the last column: quote"):
        load_own_data(folder / "own.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"[{", "cannot be read as JSON"),
        ("a.json", b"\xff\xfe", "is text in UTF-16"),
        ("a.json", b'{"image": "good.png"}', "holds a dict, not a list of rows"),
        ("a.json", b"[]", "no column 'image', 'question', 'answer'; it has none"),
        ("a.jsonl", b'{"image": 1}\n{', "line 2 cannot be read as JSON"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"image,question,answer\n", r"a header \(image, question, answer\) and no rows"),
        ("a.csv", b"image,question\n\xff,\xff", r"line 2 is no UTF-8 \(byte 15\)"),
        ("a.csv", b"image,question,answer,answer\n", "header repeats 'answer'"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
    ],
)
def test_damaged_and_empty_files(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_own_data(folder / name)


def test_nothing_left(folder):
    (folder / "own.json").write_text(json.dumps([{**GOOD, "question": ""}] * 3))
    with pytest.raises(ValueError, match=r"own\.json: no row is left to use\. 3 were skipped"):
        load_own_data(folder / "own.json", on_bad_row="skip")


def test_on_bad_row_is_checked(folder):
    with pytest.raises(ValueError, match="one of error, skip, got 'ignore'"):
        load_own_data(write(folder), on_bad_row="ignore")


def test_published_sets_take_it_too(tmp_path):
    (tmp_path / "images").mkdir()
    Images.new("L", (4, 4)).save(tmp_path / "images" / "a.jpg")
    truncated(tmp_path / "images" / "b.jpg")
    row = {"question": "Is it?", "answer": "Yes", "answer_type": "CLOSED"}
    rows = [
        {**row, "qid": 1, "image_name": "a.jpg"},
        {**row, "qid": 1, "image_name": "a.jpg"},
        {**row, "qid": 2, "image_name": "b.jpg"},
        {**row, "qid": 3, "image_name": "c.jpg"},
        {"question": "No id?", "image_name": "a.jpg"},
    ]
    (tmp_path / "trainset.json").write_text(json.dumps(rows))
    (tmp_path / "testset.json").write_text(json.dumps(rows[:1]))
    with pytest.raises(ValueError, match=r"trainset\.json: row 4 .*no column 'qid'; it has question, image_name"):
        load_vqa_dataset("vqa_rad", tmp_path)
    splits = load_vqa_dataset("vqa_rad", tmp_path, on_bad_row="skip")
    assert [len(splits["train"]), len(splits["test"])] == [1, 1]


def test_missing_images_are_counted_and_folders_listed_once(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").touch()
    rows = {number: {"image": str(tmp_path / name)} for number, name in enumerate(("a.jpg", "b.jpg", "c/a.jpg"))}
    with pytest.raises(FileNotFoundError, match=r"rows\.json: row 1 .*b\.jpg.*2 of 3"):
        RowSource(tmp_path / "rows.json", BadRows()).with_present_images(rows)
    listed = []
    monkeypatch.setattr(bad_rows_module.os, "listdir", lambda folder: listed.append(folder) or ["a.jpg"])
    assert missing_images(dict(enumerate([tmp_path / "a.jpg"] * 50))) == []
    assert listed == [tmp_path]


def csv_file(path, names):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, GOOD)
        writer.writeheader()
        writer.writerows({**GOOD, "image": name, "question": f"{name}?"} for name in names)
    return path


def test_images_in_another_folder(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("tables")
    path = csv_file(elsewhere / "own.csv", ["good.png"])
    assert load_own_data(path, image_dir=folder)["train"][0]["image"].getpixel((0, 0)) == 7
    with pytest.raises(FileNotFoundError, match="image_dir nowhere does not exist"):
        load_own_data(path, image_dir="nowhere")


def test_questions_to_answer_keep_their_order_and_need_no_answers(folder):
    names = [f"{place}.png" for place in (3, 1, 2, 5, 4)]
    for name in names:
        Images.new("L", (4, 4)).save(folder / name)
    (folder / "ask.csv").write_text("".join(["image,question\n", *(f"{name},{name}?\n" for name in names)]))
    questions = load_questions(folder / "ask.csv")
    assert questions["image_id"] == names
    assert set(questions["answer"]) == {None}
    assert set(load_questions(csv_file(folder / "own.csv", names))["answer"]) == {None}
    with pytest.raises(ValueError, match="no column 'text'"):
        load_questions(folder / "ask.csv", question_column="text")
