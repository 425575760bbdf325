import json
from collections import Counter, defaultdict

import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as Images
from small_sets import vqa_rad_row, write_vqa_rad

from amif.training.data import load_vqa_dataset
from amif.training.data.readers.vqa_rad import PUBLIC_FILE, load_vqa_rad


@pytest.fixture
def real(data_dir):
    return load_vqa_rad(data_dir / "vqa_rad", strict=True)


def test_real_counts(real):
    assert {name: len(split) for name, split in real.items()} == {"train": 3064, "test": 451}
    train, test = real["train"], real["test"]
    assert Counter(train["answer_type"]) == {"closed": 1823, "open": 1241}
    assert len({*train["image_id"], *test["image_id"]}) == 314
    assert len(set(test["image_id"])) == 203
    assert set(test["image_id"]) <= set(train["image_id"])
    assert Counter(train["phrase_type"]) == {"frame": 1267, "freeform": 1206, "para": 591}


def test_real_rows(real):
    first = real["train"][0]
    assert first["image"].size[0] > 100
    del first["image"]
    assert first == {
        "question": "Are regions of the brain infarcted?",
        "answer": "Yes",
        "answer_type": "closed",
        "question_type": "PRES",
        "image_id": "synpic54610",
        "question_id": "1",
        "organ": "HEAD",
        "phrase_type": "freeform",
        "rephrasing_of": "1",
    }


def wordings(split):
    found = defaultdict(list)
    for first, question_id in zip(split["rephrasing_of"], split["question_id"], strict=True):
        found[first].append(question_id)
    return found


def test_real_rephrasings(real):
    found = wordings(real["train"])
    assert found["55"] == ["55", "56", "57", "58"]
    assert [found["138"], found["140"]] == [["138", "139"], ["140", "141"]]  # two paraphrases of different things
    assert Counter(map(len, found.values())) == {1: 1095, 2: 536, 4: 222, 3: 3}


def test_rephrasings_follow_each_other_with_one_image_and_one_answer(tmp_path):
    phrases = ["freeform", "frame", "para", "frame", "para", "frame", "frame", "frame", "frame"]
    rows = [vqa_rad_row(number, phrase_type=phrase) for number, phrase in enumerate(phrases, start=10)]
    rows[6]["answer"], rows[7]["image_name"] = "No", "synpic2.jpg"
    rows[8]["qid"] = 30
    found = wordings(load_vqa_rad(write_vqa_rad(tmp_path, rows, [vqa_rad_row(1)]))["train"])
    assert list(found.values()) == [["10", "11", "12", "13"], ["14", "15"], ["16"], ["17"], ["30"]]


def test_the_release_links_rephrasings_itself(tmp_path):
    rows = [vqa_rad_row(row, phrase_type="para", qid_linked_id="ab" if row < 2 else "cd") for row in range(3)]
    (tmp_path / PUBLIC_FILE).write_text(json.dumps(rows))
    (tmp_path / "images").mkdir()
    Images.new("L", (4, 4)).save(tmp_path / "images" / "synpic1.jpg")
    assert wordings(load_vqa_rad(tmp_path)["train"]) == {"ab": ["0", "1"], "cd": ["2"]}


def test_real_test_answers_are_unknown(real):
    assert set(real["test"]["answer"]) == set(real["test"]["answer_type"]) == {None}
    assert real["test"].features == real["train"].features


def test_real_numbers_become_text(real, data_dir):
    raw = json.loads((data_dir / "vqa_rad" / "trainset.json").read_text())
    numbers = {str(row["qid"]): str(row["answer"]) for row in raw if isinstance(row["answer"], int)}
    assert len(numbers) == 10
    answers = dict(zip(real["train"]["question_id"], real["train"]["answer"], strict=True))
    assert numbers.items() <= answers.items()


def test_real_validation_is_by_image(data_dir):
    splits = load_vqa_dataset("vqa_rad", data_dir / "vqa_rad", strict=True)
    assert list(splits) == ["train", "validation", "test"]
    assert len(splits["train"]) + len(splits["validation"]) == 3064
    assert not set(splits["train"]["image_id"]) & set(splits["validation"]["image_id"])
    assert 0.15 * 3064 <= len(splits["validation"]) <= 0.16 * 3064


def test_real_validation_by_question_shares_images_and_no_wording(data_dir):
    by_image = load_vqa_dataset("vqa_rad", data_dir / "vqa_rad")
    splits = load_vqa_dataset("vqa_rad", data_dir / "vqa_rad", validation_by="question")
    train, validation = splits["train"], splits["validation"]
    assert (len(train), len(validation)) == (2604, 460)
    assert set(validation["image_id"]) <= set(train["image_id"])
    assert not set(validation["rephrasing_of"]) & set(train["rephrasing_of"])
    both = [[*parts["train"]["question_id"], *parts["validation"]["question_id"]] for parts in (splits, by_image)]
    assert sorted(both[0]) == sorted(both[1])


def test_real_validation_by_wording_leaves_rephrasings_in_training(data_dir):
    splits = load_vqa_dataset("vqa_rad", data_dir / "vqa_rad", validation_by="wording")
    train, validation = splits["train"], splits["validation"]
    assert (len(train), len(validation)) == (2604, 460)
    in_training = set(train["rephrasing_of"])
    assert sum(first in in_training for first in validation["rephrasing_of"]) == 264


def test_answered_test_file(tmp_path):
    splits = load_vqa_rad(
        write_vqa_rad(
            tmp_path,
            [vqa_rad_row(1), vqa_rad_row(2, answer=3, answer_type="OPEN")],
            [vqa_rad_row(3, answer_type="CLOSED ")],
        )
    )
    assert splits["train"]["answer"] == ["Yes", "3"]
    assert splits["test"][0]["answer_type"] == "closed"
    assert splits["test"][0]["answer"] == "Yes"


def test_strict_refuses_a_damaged_copy(tmp_path):
    folder = write_vqa_rad(tmp_path, [vqa_rad_row(1)], [vqa_rad_row(2)])
    with pytest.raises(ValueError, match="vqa_rad train: 1 rows, published 3064; vqa_rad test: 1 rows, published 451"):
        load_vqa_rad(folder, strict=True)


def test_missing_image(tmp_path):
    folder = write_vqa_rad(tmp_path, [vqa_rad_row(1), vqa_rad_row(2, "synpic2.jpg")], [vqa_rad_row(3)])
    (folder / "images" / "synpic2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"trainset\.json: row 1 .*synpic2\.jpg.* \(1 of 2"):
        load_vqa_rad(folder)


def test_missing_files(tmp_path):
    with pytest.raises(ValueError, match="give data_dir"):
        load_vqa_rad()
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        load_vqa_rad(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"trainset\.json or VQA_RAD Dataset Public\.json"):
        load_vqa_rad(tmp_path)


def test_original_release(tmp_path):
    images = tmp_path / "VQA_RAD Image Folder"
    images.mkdir()
    Images.new("L", (4, 4)).save(images / "synpic1.jpg")
    phrases = ("freeform", "para", "test_freeform", "test_para")
    rows = [vqa_rad_row(row, phrase_type=phrase, evaluation="given") for row, phrase in enumerate(phrases)]
    (tmp_path / PUBLIC_FILE).write_text(json.dumps(rows))
    splits = load_vqa_rad(tmp_path)
    assert splits["train"]["question_id"] == ["0", "1"]
    assert splits["test"]["phrase_type"] == ["test_freeform", "test_para"]


def test_a_bad_row_of_the_original_release_is_named_by_its_place_in_the_file(tmp_path):
    (tmp_path / "images").mkdir()
    Images.new("L", (4, 4)).save(tmp_path / "images" / "synpic1.jpg")
    rows = [
        vqa_rad_row(row, phrase_type=phrase) for row, phrase in enumerate(("test_freeform", "freeform", "freeform"))
    ]
    rows[2]["question"] = " "
    (tmp_path / PUBLIC_FILE).write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"Public\.json: row 2 "):
        load_vqa_rad(tmp_path)


def test_hub_mirror(tmp_path):
    features = Features({"image": Image(), "question": Value("string"), "answer": Value("string")})
    images = [Images.new("L", (4, 4), shade) for shade in (0, 0, 200)]
    (tmp_path / "data").mkdir()
    for split, rows in (("train", images), ("test", images[:1])):
        table = {"image": rows, "question": [f"q{row}" for row in range(len(rows))], "answer": ["yes"] * len(rows)}
        Dataset.from_dict(table, features=features).to_parquet(tmp_path / "data" / f"{split}-00000-of-00001-ab.parquet")
    splits = load_vqa_rad(tmp_path)
    first, second, third = splits["train"]["image_id"]
    assert first == second != third
    assert splits["test"]["image_id"] == [first]
    assert splits["train"][2]["image"].getpixel((0, 0)) == 200
    with pytest.raises(ValueError, match="published 1793"):
        load_vqa_rad(tmp_path, strict=True)
