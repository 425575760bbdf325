import csv

import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Images

from amif.training.data import load_pretraining_dataset
from amif.training.data import pretraining_schema as schema
from amif.training.data.readers.rocov2 import load_rocov2


def table(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        Images.new("L", (4, 4)).save(tmp_path / split / f"{split}_1.jpg")
        table(tmp_path / f"{split}_captions.csv", ("ID", "Caption"), [(f"{split}_1", 'Size 1.5, "left"')])
        table(tmp_path / f"{split}_concepts.csv", ("ID", "CUIs"), [(f"{split}_1", "C1;C2")])
    return tmp_path


def test_real_sample(data_dir, monkeypatch):
    monkeypatch.setattr(schema.logger, "warning", pytest.fail)
    splits = load_pretraining_dataset("rocov2", data_dir / "rocov2_sample")
    assert {name: len(split) for name, split in splits.items()} == {"train": 600, "validation": 100, "test": 100}
    ids = [set(split["study_id"]) for split in splits.values()]
    assert len(set.union(*ids)) == 800
    row = splits["test"][0]
    assert max(row.pop("images")[0].size) <= 320
    assert row == {
        "text": "Further superior displacement of Left Hemipelvis after left sided Illiosacral screws",
        "study_id": "ROCOv2_2023_test_003891",
        "concepts": ["C1306645", "C0030797", "C1999039", "C0333045", "C0301559"],
    }


def test_real_sample_is_not_the_whole(data_dir):
    with pytest.raises(ValueError, match="rocov2 train: 600 rows, published 59958"):
        load_rocov2(data_dir / "rocov2_sample", strict=True)


def test_released_folders(folder):
    row = load_rocov2(folder)["validation"][0]
    assert (row["study_id"], row["text"], row["concepts"]) == ("valid_1", 'Size 1.5, "left"', ["C1", "C2"])


def test_the_mirror_in_parquet(tmp_path):
    features = Features(image=Image(), image_id=Value("string"), caption=Value("string"), cui=List(Value("string")))
    row = {"image": Images.new("L", (4, 4), 9), "image_id": "train_1", "caption": "Normal.", "cui": ["C7"]}
    (tmp_path / "data").mkdir()
    Dataset.from_list([row], features=features).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    (found,) = load_rocov2(tmp_path)["train"]
    assert found.pop("images")[0].getpixel((0, 0)) == 9
    assert found == {"text": "Normal.", "study_id": "train_1", "concepts": ["C7"]}


def test_a_missing_image(folder):
    (folder / "test" / "test_1.jpg").unlink()
    assert list(load_rocov2(folder)) == ["train", "validation"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("ID,Text\ntest_1,Cyst.\n", r"test_captions\.csv has no column 'Caption'; it has ID, Text\."),
        ("ID,Caption\ntest_1\n", r"test_captions\.csv: line 2 has 1 cells and the header 2"),
        ('ID,Caption\ntest_1,"Cyst.\n', r"test_captions\.csv cannot be read as CSV.*begins on line 2"),
        (b"ID,Caption\ntest_1,\xff\n", r"test_captions\.csv: line 2 is no UTF-8"),
    ],
)
def test_a_damaged_row_is_named(folder, content, said):
    (folder / "test_captions.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=said):
        load_rocov2(folder)
