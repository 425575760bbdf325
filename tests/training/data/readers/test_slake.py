from collections import Counter

import pytest
from small_sets import slake_row, write_slake

from amif.training.data.readers.slake import FILES, load_slake


@pytest.fixture
def real(data_dir):
    return load_slake(data_dir / "slake", strict=True)


def test_real_counts(real):
    assert {name: len(split) for name, split in real.items()} == {"train": 4919, "validation": 1053, "test": 1061}
    test = real["test"]
    assert Counter(test["answer_type"]) == {"closed": 416, "open": 645}
    assert sum(answer.lower() in ("yes", "no") for answer in test["answer"]) == 355


def test_real_splits_share_no_image(real):
    images = {name: set(split["image_id"]) for name, split in real.items()}
    assert {name: len(ids) for name, ids in images.items()} == {"train": 450, "validation": 96, "test": 96}
    assert len(set.union(*images.values())) == 642


def test_real_rows(real):
    row = real["train"][0]
    assert max(row.pop("image").size) <= 384
    assert row == {
        "question": "What modality is used to take this image?",
        "answer": "MRI",
        "answer_type": "open",
        "question_type": "Modality",
        "image_id": "xmlab1",
        "question_id": "0",
        "modality": "MRI",
        "organ": "Abdomen",
    }


def test_real_chinese_alone(real, data_dir):
    chinese = load_slake(data_dir / "slake", strict=True, language="zh")
    assert {name: len(split) for name, split in chinese.items()} == {"train": 4916, "validation": 1046, "test": 1033}
    for name in chinese:
        assert not set(chinese[name]["question_id"]) & set(real[name]["question_id"])


@pytest.mark.parametrize("validation_name", FILES["validation"])
def test_languages_and_both_names_of_the_validation_file(tmp_path, validation_name):
    rows = [slake_row(0), slake_row(1, q_lang="zh", question="\u54ea\u4e2a"), slake_row(2, answer=2)]
    folder = write_slake(tmp_path, rows, validation_name)
    assert load_slake(folder)["validation"]["question_id"] == ["0", "2"]
    assert load_slake(folder)["train"]["answer"] == ["CT", "2"]
    assert load_slake(folder, language="zh")["test"]["question"] == ["\u54ea\u4e2a"]


def test_errors(tmp_path):
    folder = write_slake(tmp_path, [slake_row(0), slake_row(1, "xmlab2/source.jpg")])
    with pytest.raises(ValueError, match="languages en, zh, not 'de'"):
        load_slake(folder, language="de")
    with pytest.raises(ValueError, match=r"slake \(en\) train: 2 rows, published 4919"):
        load_slake(folder, strict=True)
    (folder / "imgs" / "xmlab2" / "source.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.json: row 1 .*xmlab2.source\.jpg"):
        load_slake(folder)
    (folder / "validate.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"row 1|validate\.json or validation\.json"):
        load_slake(folder)
