from collections import Counter

import pytest
from small_sets import write_vqa_med_2019

from amif.training.data.readers.vqa_med_2019 import ANSWERED_TEST, TEST, TRAINING, load_vqa_med_2019

TRAIN_LINES = [
    "synpic1|what modality is shown?|ct w/contrast (iv)#ct",
    "synpic1|what plane is this?|axial",
    "synpic2|which organ is imaged?|lung, mediastinum, pleura",
    "synpic2|is this normal?|no",
]


@pytest.fixture
def copy(tmp_path):
    validation, test = ["synpic3|what plane is this?|sagittal"], ["synpic4|what modality is shown?"]
    return write_vqa_med_2019(tmp_path, TRAIN_LINES, validation, test)


def test_layout_and_rows(copy):
    splits = load_vqa_med_2019(copy)
    train = splits["train"]
    assert train["answer"] == [line.split("|")[2] for line in TRAIN_LINES]
    assert train["question_type"] == ["modality", "plane", "organ", "abnormality"]
    assert set(train["answer_type"]) == {None}
    first = train[0]
    assert (first["image_id"], first["question_id"]) == ("synpic1", "synpic1|what modality is shown?")
    assert first["image"].size == (4, 4)
    (test,) = splits["test"]
    assert (test["answer"], test["question_type"]) == (None, None)


def test_answered_test_file(copy):
    (copy / TEST / ANSWERED_TEST).write_text("synpic4|modality|what modality is shown?|xr - plain film\n")
    (test,) = load_vqa_med_2019(copy)["test"]
    assert (test["answer"], test["question_type"]) == ("xr - plain film", "modality")


def test_without_the_files_by_category(copy):
    for file in (copy / TRAINING / "QAPairsByCategory").iterdir():
        file.unlink()
    assert set(load_vqa_med_2019(copy)["train"]["question_type"]) == {None}


def test_a_line_of_other_parts_is_a_bad_row(copy, caplog):
    file = copy / TRAINING / "All_QA_Pairs_train.txt"
    file.write_text("\n".join([*TRAIN_LINES, "synpic1|what is this?"]))
    with pytest.raises(ValueError, match=r"All_QA_Pairs_train\.txt: row 4 .*has 2 parts .* not 3: image\|question"):
        load_vqa_med_2019(copy)
    assert len(load_vqa_med_2019(copy, on_bad_row="skip")["train"]) == 4


def test_strict_refuses_a_damaged_copy(copy):
    with pytest.raises(ValueError, match=r"vqa_med_2019 train: 4 rows, published 12792.* test: 1 rows, published 500"):
        load_vqa_med_2019(copy, strict=True)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match=TRAINING):
        load_vqa_med_2019(tmp_path)


def test_real(data_dir):
    splits = load_vqa_med_2019(data_dir / "vqa_med_2019", strict=True)
    assert Counter(splits["train"]["question_type"]) == {
        "modality": 3200,
        "plane": 3200,
        "organ": 3200,
        "abnormality": 3192,
    }
    assert Counter(splits["validation"]["question_type"]) == dict.fromkeys(
        ("modality", "plane", "organ", "abnormality"), 500
    )
    assert {name: len(set(split["image_id"])) for name, split in splits.items()} == {
        "train": 3200,
        "validation": 500,
        "test": 500,
    }
    assert set(splits["test"]["answer"]) == {None}
    assert sum("(" in answer for answer in splits["train"]["answer"]) == 365
    assert max(splits["train"][0]["image"].size) <= 288
