import csv
import json
import sys

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, IterableDatasetDict, Value
from PIL import Image as Images
from written_dicom import dicom_and_pixels, named_patients, write_dicom
from written_tables import write

from amif.training.data import VqaRows
from amif.training.data.images import decode_image
from amif.training.data.readers import bad_rows as bad_rows_module
from amif.training.data.readers import own_data, table_files
from amif.training.data.readers.own_data import load_own_data, load_questions
from amif.training.data.readers.streamed_questions import load_streamed_questions
from amif.training.evaluation.protocols import distinct_answers

GOOD = {"image": "good.png", "question": "Is it?", "answer": "yes"}

ROWS = [
    {"image": "images/007.png", "question": "How many?", "answer": 2},
    {"image": "images/007.png", "question": "Contrast agent?", "answer": "None"},
    {"image": "images/8.png", "question": "Where?", "answer": 'left, "upper" lobe'},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("007", "8"):
        Images.new("L", (4, 4), len(name)).save(tmp_path / "images" / f"{name}.png")
    Images.new("L", (4, 4), 7).save(tmp_path / "good.png")
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(folder, suffix):
    dataset = load_own_data(write(folder / f"questions{suffix}", ROWS))["train"]
    assert dataset["answer"] == ["2", "None", 'left, "upper" lobe']
    assert dataset["image_id"] == ["images/007.png", "images/007.png", "images/8.png"]
    assert dataset["question_id"][2] == "images/8.png|Where?"
    assert dataset[2]["image"].getpixel((0, 0)) == 1
    assert set(dataset["answer_type"]) == {None}


def test_dicom_files_are_rows_like_any_and_patients_stay_unnamed(tmp_path, caplog, capfd, recwarn):
    expected = dicom_and_pixels(tmp_path)
    write_dicom(tmp_path / "dose", np.zeros((4, 4), np.uint16), Modality="RTDOSE")
    path = write(tmp_path / "questions.csv", [GOOD | {"image": name} for name in (*expected, "dose")])
    with pytest.raises(ValueError, match=r"row 3 .*dose holds no DICOM image, but an .*kind RT Dose") as error:
        load_own_data(path)
    rows = load_own_data(path, on_bad_row="skip")["train"]
    assert rows["image_id"] == list(expected)
    for row, pixels in zip(VqaRows(rows), expected.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(decode_image(row["image"], "row"))[..., 1], pixels)
    said = [str(error.value), caplog.text, *capfd.readouterr(), *(str(warning.message) for warning in recwarn)]
    assert not named_patients(*said, str(rows.to_list()))


def test_dicom_without_pydicom_names_the_extra(tmp_path, monkeypatch):
    (name, *_) = dicom_and_pixels(tmp_path)
    path = write(tmp_path / "questions.csv", [GOOD | {"image": name}])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for on_bad_row in ("error", "skip"):  # no row is bad
        with pytest.raises(ImportError, match=r'pip install "amif\[dicom\]"'):
            load_own_data(path, on_bad_row=on_bad_row)


def test_a_number_sign_cuts_no_answer(folder):
    answers = ["tooth #14", "#3", "C# (minor)"]
    rows = [row | {"answer": answer} for row, answer in zip(ROWS, answers, strict=True)]
    splits = load_own_data(write(folder / "questions.csv", rows))
    assert splits["train"]["answer"] == answers
    assert distinct_answers(splits["train"]) == ["3", "c minor", "tooth 14"]


def test_column_names_and_own_ids(folder):
    row = {
        "file": "images/8.png",
        "q": "Is it?",
        "a": "",
        "answer_type": "CLOSED",
        "image_id": "01",
        "question_id": 5,
    }
    path = write(folder / "own.csv", [row])
    (found,) = load_own_data(path, image_column="file", question_column="q", answer_column="a")["train"]
    assert (found["answer"], found["answer_type"], found["image_id"], found["question_id"]) == (
        None,
        "closed",
        "01",
        "5",
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_modality_and_organ_say_which_images_are_alike(folder, suffix):
    organs = ["liver", "liver", "lung"]
    rows = [row | {"modality": "CT", "organ": organ} for row, organ in zip(ROWS, organs, strict=True)]
    path = write(folder / f"questions{suffix}", rows)
    dataset = load_own_data(path)["train"]
    assert (dataset["modality"][:], dataset["organ"][:]) == (["CT"] * 3, organs)
    assert load_questions(path)["organ"][:] == organs
    without = load_own_data(write(folder / f"without{suffix}", ROWS))["train"]
    assert set(without["modality"]) == set(without["organ"]) == {None}


def test_embedded_images_keep_modality_and_organ(folder):
    features = Features({"image": Image(), "question": Value("string"), "organ": Value("string")})
    images = [Images.new("L", (4, 4), shade) for shade in (5, 6)]
    table = Dataset.from_dict({"image": images, "question": ["a", "b"], "organ": ["liver", None]}, features=features)
    table.to_parquet(folder / "test.parquet")
    dataset = load_questions(folder / "test.parquet")
    assert (dataset["organ"][:], dataset["modality"][:]) == (["liver", None], [None, None])


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["questions", "train-00000-of-00001", "trainset", "training", "valve", "deviation", "testicles"]),
        ("validation", ["validation", "val_1", "Valid", "dev2"]),
        ("test", ["test_hospital_b", "testset_questions", "Tests", "test"]),
    ],
)
def test_a_file_is_of_the_split_that_its_name_begins_with(folder, split, names):
    for name in names:
        assert load_own_data(write(folder / f"{name}.csv", ROWS)).keys() == {split}


def test_a_folder_of_splits(folder, monkeypatch):
    said = []
    monkeypatch.setattr(table_files.logger, "warning", said.append)
    (folder / "data").mkdir()
    write(folder / "valve.csv", ROWS)
    write(folder / "train_1.csv", ROWS)
    write(folder / "train_2.csv", ROWS[:1])
    write(folder / "validate.json", ROWS[:2])
    splits = load_own_data(folder)
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 2}
    assert said == [f"{folder}: not read, since their names begin with no split: valve.csv."]


@pytest.mark.parametrize("names", [["00000", "00001"], ["data-0-of-2", "data-1-of-2"], ["questions"]])
def test_a_folder_whose_names_say_no_split_is_training(folder, names, monkeypatch):
    said = []
    monkeypatch.setattr(table_files.logger, "warning", said.append)
    for place, name in enumerate(names):
        write(folder / f"{name}.parquet", ROWS[place : place + 1])
    splits = load_own_data(folder)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": len(names)}
    files = ", ".join(f"{name}.parquet" for name in names)
    assert said == [f"{folder}: no name says a split, so that all are training: {files}."]
    write(folder / "further.parquet", ROWS)
    with pytest.raises(ValueError, match=r"further\.parquet.* are all of no split by their names.*rename them"):
        load_own_data(folder)


def test_an_image_id_names_one_image_over_all_files_of_a_split(folder):
    for name, image in (("train_1", "007"), ("train_2", "8")):
        write(folder / f"{name}.csv", [ROWS[0] | {"image": f"images/{image}.png", "image_id": "1"}])
    with pytest.raises(ValueError, match=r"train_2\.csv.*: the image id '1' names .*8\.png here and .*007\.png before"):
        load_own_data(folder)


def test_embedded_images_are_told_apart_by_content(tmp_path):
    features = Features({"image": Image(), "question": Value("string")})
    rows = {"image": [Images.new("L", (4, 4), shade) for shade in (5, 6, 5)], "question": ["a", "b", "c"]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "test.parquet")
    dataset = load_own_data(tmp_path)["test"]
    first, second, third = dataset["image_id"]
    assert first == third != second
    assert dataset["answer"] == [None, None, None]
    assert dataset[1]["image"].getpixel((0, 0)) == 6


def test_the_hub(monkeypatch):
    features = Features({"scan": Image(), "question": Value("string"), "answer": Value("string")})
    rows = {"scan": [Images.new("L", (4, 4), 9)], "question": ["a"], "answer": ["b"]}
    table = Dataset.from_dict(rows, features=features)
    monkeypatch.setattr("datasets.load_dataset", lambda name: DatasetDict({"train": table, "val": table}))
    splits = load_own_data("owner/name", image_column="scan")
    assert list(splits) == ["train", "validation"]
    assert splits["validation"][0]["image"].getpixel((0, 0)) == 9


def test_two_splits_of_the_hub_that_mean_one_are_not_cut_to_the_last(monkeypatch):
    features = Features({"image": Image(), "question": Value("string"), "answer": Value("string")})
    table = Dataset.from_dict({"image": [Images.new("L", (4, 4))], "question": ["a"], "answer": ["b"]}, features)
    both = DatasetDict({"train": table, "valid": table, "dev": table})
    monkeypatch.setattr("datasets.load_dataset", lambda name, **_: both)
    message = "owner/name has splits train, valid, dev, of which two are validation"
    with pytest.raises(ValueError, match=message):
        load_own_data("owner/name")
    streams = IterableDatasetDict({split: rows.to_iterable_dataset() for split, rows in both.items()})
    monkeypatch.setattr("datasets.load_dataset", lambda name, **_: streams)
    with pytest.raises(ValueError, match=message):
        load_streamed_questions("owner/name")


def test_errors(folder):
    path = write(folder / "own.csv", ROWS)
    with pytest.raises(ValueError, match=r"no column 'scan'; it has image, question, answer\. .*image_column"):
        load_own_data(path, image_column="scan")
    with pytest.raises(FileNotFoundError, match="no train"):
        load_own_data(folder / "images")
    (folder / "images" / "8.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"own\.csv: row 2 .*8\.png"):
        load_own_data(path)
    (folder / "own.xlsx").touch()
    with pytest.raises(ValueError, match=r"xlsx is none of \.csv"):
        load_own_data(folder / "own.xlsx")


def test_answers_kept_as_class_numbers_get_their_names(folder):
    features = Features(
        {"image": Value("string"), "question": Value("string"), "answer": ClassLabel(names=["no", "yes"])}
    )
    table = {"image": ["images/8.png"] * 3, "question": ["a?", "b?", "c?"], "answer": [1, 0, -1]}
    Dataset.from_dict(table, features=features).to_parquet(folder / "train.parquet")
    assert load_own_data(folder)["train"]["answer"] == ["yes", "no", None]


def test_a_suffix_in_capitals(folder):
    assert len(load_own_data(write(folder / "own.csv", ROWS).rename(folder / "OWN.CSV"))["train"]) == 3


@pytest.mark.parametrize("names", [("test", "test_clean"), ("train_a", "train_b"), ("val", "val_1")])
def test_two_files_of_one_split_that_are_no_parts_are_refused(folder, names):
    for name in names:
        write(folder / f"{name}.csv", ROWS)
    with pytest.raises(ValueError, match=rf"{names[0]}\.csv, {names[1]}\.csv are all \w+ by their names.*rename them"):
        load_own_data(folder)


@pytest.mark.parametrize(
    ("name", "copy"), [("train_1.csv", "train_1.csv"), ("0001.csv", "0001.csv"), ("test.csv", "TEST.csv")]
)
def test_a_file_and_its_copy_in_the_data_folder_are_not_joined(folder, name, copy):
    (folder / "data").mkdir()
    write(folder / "data" / name, ROWS).rename(folder / "data" / copy)
    write(folder / name, ROWS)
    with pytest.raises(ValueError, match=rf"(?i){name} and .*{name} have one name, .*: move one"):
        load_own_data(folder)


@pytest.mark.parametrize("name", ["./images/8.png", "images//8.png", "images/../images/8.png", "images\\8.png"])
def test_one_image_under_two_spellings_is_one(folder, name):
    rows = [ROWS[2], ROWS[2] | {"image": name}]
    dataset = load_own_data(write(folder / "own.json", rows))["train"]
    assert dataset["image_id"][:] == ["images/8.png"] * 2
    assert dataset["question_id"][:] == ["images/8.png|Where?", "images/8.png|Where?|2"]


def test_a_path_that_climbs_out_of_a_link_keeps_its_meaning(folder):
    (folder / "far" / "deep").mkdir(parents=True)
    Images.new("L", (4, 4), 200).save(folder / "far" / "b.png")
    Images.new("L", (4, 4), 100).save(folder / "b.png")
    (folder / "link").symlink_to(folder / "far" / "deep")
    rows = [ROWS[0] | {"image": name} for name in ("link/../b.png", "b.png")]
    dataset = load_own_data(write(folder / "own.json", rows))["train"]
    assert [row["image"].getpixel((0, 0)) for row in dataset] == [200, 100]
    assert len(set(dataset["image_id"])) == 2


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_column_split_says_which_split_a_row_is_of(folder, suffix):
    names = ["Train", "dev", "test"]
    rows = [row | {"split": name, "question_id": "1"} for row, name in zip(ROWS, names, strict=True)]
    splits = load_own_data(write(folder / f"own{suffix}", rows))
    assert {name: rows["answer"][:] for name, rows in splits.items()} == {
        "train": ["2"],
        "validation": ["None"],
        "test": [ROWS[2]["answer"]],
    }
    assert "split" not in splits["test"].column_names
    assert len(load_questions(write(folder / f"ask{suffix}", ROWS))) == 3


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("own.csv", "fold1", "row 1 .* the split is 'fold1', none of train, .*rename the column"),
        ("own.csv", "", "row 1 .* the split is ''"),
        ("train.csv", "test", "row 1 .* the column split says 'test', and the file's name train"),
    ],
)
def test_a_column_split_that_says_nothing_or_otherwise_is_refused(folder, file, value, message):
    rows = [row | {"split": name} for row, name in zip(ROWS, ["train", value, "train"], strict=True)]
    with pytest.raises(ValueError, match=message):
        load_own_data(write(folder / file, rows))


def test_columns_that_are_not_used_are_named(folder, monkeypatch):
    said = []
    monkeypatch.setattr(own_data.logger, "warning", said.append)
    rows = [row | {"Answer_type": "open", "candidates": "a|b", "split": "train"} for row in ROWS]
    load_own_data(write(folder / "own.csv", rows))
    assert said == [f"{folder / 'own.csv'}: columns that are not used: 'Answer_type', 'candidates'."]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_are_named_or_left_out(folder, monkeypatch, suffix):
    said = []
    for module in (own_data, table_files):
        monkeypatch.setattr(module.logger, "warning", said.append)
    rows = [row | {"kind": "OPEN", "topic": "size", "answer_type": "number", "split": "fold 3"} for row in ROWS]
    path = write(folder / f"own{suffix}", rows)
    with pytest.raises(
        ValueError, match=r"answer_type 'number' is none of open, closed: .*answer_type_column.*ignore_columns"
    ):
        load_own_data(path, ignore_columns=["split"])
    assert said == [f"{path}: columns that are not used: 'kind', 'topic'."]
    said.clear()
    named = {"answer_type_column": "kind", "question_type_column": "topic"}
    rows = load_own_data(path, ignore_columns=["split", "organ"], **named)["train"]
    assert (set(rows["answer_type"]), set(rows["question_type"])) == ({"open"}, {"size"})
    assert said == [
        f"{path} has no column 'organ' to leave out; it has image, question, answer, kind, topic, answer_type, split.",
        f"{path}: columns that are not used: 'answer_type'.",
    ]
    with pytest.raises(ValueError, match=r"no column 'form'.*Name yours with .*answer_type_column"):
        load_own_data(path, answer_type_column="form", ignore_columns=["split"])
    assert load_questions(path, ignore_columns=["answer_type", "split"])["answer_type"][:] == [None] * 3


def test_keys_that_repeat_are_refused(folder):
    (folder / "own.json").write_text('[{"image": "images/8.png", "question": "a", "answer": "b", "answer": "c"}]')
    with pytest.raises(ValueError, match=r"own\.json cannot be read as JSON \(an object repeats 'answer'\)"):
        load_own_data(folder / "own.json")


@pytest.mark.parametrize("name", ["own.json", "own.jsonl"])
def test_json_of_any_depth_ends_in_a_clear_error(folder, name):
    for depth in (10, 500, 990, 5_000, 100_000):
        cell = "[" * depth + "]" * depth
        row = '{"image": "images/8.png", "question": "a", "answer": ' + cell + "}"
        (folder / name).write_text(row if name.endswith("l") else f"[{row}]")
        with pytest.raises(ValueError, match=r"too deep|neither text nor a number") as error:
            load_own_data(folder / name)
        assert len(str(error.value)) < 400


def test_bytes_are_never_printed(folder):
    path = folder / "own.parquet"
    Dataset.from_dict({"image": ["images/8.png"], "question": [b"\x89PNG" * 999], "answer": ["a"]}).to_parquet(path)
    with pytest.raises(ValueError, match="<3996 bytes> is neither text nor a number"):
        load_own_data(path)


def own_json(folder, *rows):
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


def with_number(path, number):
    Images.fromarray(np.array([[0.5, number]], np.float32)).save(path)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("truncated.jpg", truncated, "truncated.jpg.*truncated"),
        ("zero.jpg", lambda path: path.touch(), "zero.jpg.*none of BMP"),
        ("text.jpg", lambda path: path.write_text("This is no image."), "text.jpg.*none of BMP"),
        ("folder.jpg", lambda path: path.mkdir(), "folder.jpg"),
        ("bomb.tiff", bomb, "bomb.tiff.*exceeds limit"),
        ("nan.tiff", lambda path: with_number(path, np.nan), "nan.tiff holds NaN or infinity: replace"),
        ("infinity.tiff", lambda path: with_number(path, np.inf), "infinity.tiff holds NaN or infinity"),
    ],
)
def test_damaged_images(folder, name, make, message, caplog):
    make(folder / name)
    assert_named_and_skipped(own_json(folder, {**GOOD, "image": name}), message, caplog)


def test_a_missing_image(folder, caplog):
    path = own_json(folder, {**GOOD, "image": "gone.png"})
    assert_named_and_skipped(path, r"gone\.png does not exist \(1 of 2 rows", caplog, FileNotFoundError)


@pytest.mark.parametrize("image", [None, "", 3.5, [["good.png"]], True, "a\0b"])
def test_an_image_that_is_no_path(folder, image, caplog):
    kind = FileNotFoundError if image == 3.5 else ValueError
    assert_named_and_skipped(own_json(folder, {**GOOD, "image": image}), "", caplog, kind)


def test_images_of_one_pixel_and_of_16_bits_are_taken(folder):
    Images.new("L", (1, 1), 9).save(folder / "one.png")
    Images.fromarray(np.array([[0, 4095]], np.uint16)).save(folder / "deep.png")
    rows = [{**GOOD, "image": name, "question": name} for name in ("one.png", "deep.png")]
    assert len(load_own_data(own_json(folder, *rows))["train"]) == 3


@pytest.mark.parametrize("question", [None, "", " \n", ["a", "b"], {"a": 1}, False, "\ud800"])
def test_questions_that_are_none(folder, question, caplog):
    assert_named_and_skipped(own_json(folder, {**GOOD, "question": question}), "", caplog)


@pytest.mark.parametrize("answer", [["yes", ["no"]], [], {"a": 1}, True, "...", "?", float("inf")])
def test_answers_that_are_none(folder, answer, caplog):
    assert_named_and_skipped(own_json(folder, {**GOOD, "answer": answer}), "", caplog)


def test_answers_that_are_numbers_or_unknown(folder):
    answers = [3, 2.5, 0, None, "", float("nan")]
    rows = [{**GOOD, "question": f"{place}?", "answer": answer} for place, answer in enumerate(answers)]
    assert load_own_data(own_json(folder, *rows))["train"]["answer"] == ["yes", "3", "2.5", "0", None, None, None]


def test_an_answer_type_that_is_none(folder, caplog):
    assert_named_and_skipped(own_json(folder, {**GOOD, "answer_type": "maybe"}), "'maybe' is none of open", caplog)


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
    dataset = load_own_data(own_json(folder, GOOD, {**GOOD, "answer": "no"}))["train"]
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


def csv_of(path, names):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, GOOD)
        writer.writeheader()
        writer.writerows({**GOOD, "image": name, "question": f"{name}?"} for name in names)
    return path


def test_images_in_another_folder(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("tables")
    path = csv_of(elsewhere / "own.csv", ["good.png"])
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
    assert set(load_questions(csv_of(folder / "own.csv", names))["answer"]) == {None}
    with pytest.raises(ValueError, match="no column 'text'"):
        load_questions(folder / "ask.csv", question_column="text")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_further_columns_of_questions_are_kept_as_they_are(folder, suffix):
    """Those too that are read, but for the ones that predictions.csv has of itself."""
    names, others = ("007", "b, c", ""), {"accession": "1e5", "modality": "CT", "A": "yes", "B": "no"}
    path = write(
        folder / f"ask{suffix}", [row | {"patient": name} | others for row, name in zip(ROWS, names, strict=True)]
    )
    asked = load_questions(path)
    kept = [json.loads(cells) for cells in asked["input_columns"]]
    assert [cells | others for cells in kept] == kept
    assert [cells["patient"] for cells in kept] == list(names)
    assert not {"image", "question", "answer"} & kept[0].keys()
    assert (asked["modality"][0], asked["choices"][0]) == ("CT", ["yes", "no"])
    assert "input_columns" not in load_own_data(path, ignore_columns=["A"])["train"].column_names
