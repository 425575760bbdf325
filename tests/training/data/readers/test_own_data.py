import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Images
from written_tables import write

from amif.training.data.readers import own_data, table_files
from amif.training.data.readers.own_data import load_own_data, load_questions
from amif.training.evaluation.protocols import distinct_answers

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
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(folder, suffix):
    dataset = load_own_data(write(folder / f"questions{suffix}", ROWS))["train"]
    assert dataset["answer"] == ["2", "None", 'left, "upper" lobe']
    assert dataset["image_id"] == ["images/007.png", "images/007.png", "images/8.png"]
    assert dataset["question_id"][2] == "images/8.png|Where?"
    assert dataset[2]["image"].getpixel((0, 0)) == 1
    assert set(dataset["answer_type"]) == {None}


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
