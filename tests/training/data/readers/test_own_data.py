import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Images
from written_tables import write

from amif.training.data.readers import table_files
from amif.training.data.readers.own_data import load_own_data, load_questions

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
    write(folder / "train.csv", ROWS)
    write(folder / "train_more.csv", ROWS[:1])
    write(folder / "validate.json", ROWS[:2])
    splits = load_own_data(folder)
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 2}
    assert said == [f"{folder}: not read, since their names begin with no split: valve.csv."]


def test_an_image_id_names_one_image_over_all_files_of_a_split(folder):
    for name, image in (("train_a", "007"), ("train_b", "8")):
        write(folder / f"{name}.csv", [ROWS[0] | {"image": f"images/{image}.png", "image_id": "1"}])
    with pytest.raises(ValueError, match=r"train_b\.csv.*: the image id '1' names .*8\.png here and .*007\.png before"):
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
