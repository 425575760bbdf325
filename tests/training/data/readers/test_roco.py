import csv

import pytest
from datasets import Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Images
from small_sets import write_roco

from amif.training.data import load_pretraining_dataset
from amif.training.data.readers import own_pairs
from amif.training.data.readers.roco import MIRROR_ROWS, load_roco

CAPTIONS = {
    "train": [("1", " A mass\u2028on the left."), ("2", "Ct, axial."), ("5", " ")],
    "validation": [("3", "Normal.")],
    "test": [("4", "Cyst.")],
}


@pytest.fixture(params=[".", "data", "all_data"])
def folder(request, tmp_path):
    write_roco(tmp_path / request.param, CAPTIONS)
    return tmp_path


def test_captions(folder):
    splits = load_pretraining_dataset("roco", folder)
    assert {name: split["study_id"][:] for name, split in splits.items()} == {
        "train": ["ROCO_00001", "ROCO_00002"],
        "validation": ["ROCO_00003"],
        "test": ["ROCO_00004"],
    }
    row = splits["train"][0]
    assert row["text"] == "A mass\u2028on the left."
    assert [image.getpixel((0, 0)) for image in row["images"]] == [1]


def test_tables(folder):
    for split, name in (("train", "traindata.csv"), ("validation", "valdata.csv"), ("test", "testdata.csv")):
        (radiology,) = folder.rglob(f"{split}/radiology")
        (radiology / "captions.txt").unlink()
        with (radiology / name).open("w", newline="") as file:
            rows = [(f"ROCO_0000{n}", f"PMC{n}_x.jpg", caption + "\n") for n, caption in CAPTIONS[split]]
            csv.writer(file).writerows([("id", "name", "caption"), *rows])
        for number, _ in CAPTIONS[split]:
            (radiology / "images" / f"ROCO_0000{number}.jpg").rename(radiology / "images" / f"PMC{number}_x.jpg")
    row = load_roco(folder)["test"][0]
    assert (row["study_id"], row["file_name"], row["text"].strip()) == ("ROCO_00004", "PMC4_x.jpg", "Cyst.")
    assert row["images"][0].getpixel((0, 0)) == 4


def test_errors(folder):
    with pytest.raises(ValueError, match="roco train: 3 rows, published 65460"):
        load_roco(folder, strict=True)
    next(folder.rglob("test/radiology/captions.txt")).unlink()
    with pytest.raises(FileNotFoundError, match=r"captions\.txt or traindata\.csv"):
        load_roco(folder)


@pytest.fixture
def mirror():
    features = Features(image=Image(), image_id=Value("string"), caption=Value("string"))
    rows = [
        {"image": Images.new("L", (4, 4), 9), "image_id": "PMC1.jpg", "caption": "Normal."},
        {"image": None, "image_id": "PMC2.jpg", "caption": "Lost."},
        {"image": Images.new("L", (4, 4)), "image_id": "PMC3.jpg", "caption": " "},
    ]
    return DatasetDict({split: Dataset.from_list(rows, features=features) for split in CAPTIONS})


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr("logging.Logger.warning", lambda _, message: said.append(message))
    return said


def check_mirror(splits, said, name):
    assert splits.num_rows == {"train": 1, "validation": 1, "test": 1}
    (row,) = splits["test"]
    assert row.pop("images")[0].getpixel((0, 0)) == 9
    assert row == {"text": "Normal.", "study_id": "PMC1.jpg"}
    assert sum("1 without an image that can be read, 1 without a report" in message for message in said) == 3
    assert f"roco (the mirror {name}) train: 1 rows, published {MIRROR_ROWS[name]['train']}" in said


@pytest.mark.parametrize("place", [".", "data"])
def test_folder_of_a_mirror(tmp_path, mirror, place, warnings):
    """As `hf download --local-dir` leaves it."""
    (tmp_path / place).mkdir(exist_ok=True)
    for split, rows in mirror.items():
        rows.to_parquet(tmp_path / place / f"{split}-00000-of-00001.parquet")
    check_mirror(load_roco(tmp_path), warnings, "mdwiratathya/ROCO-radiology")


def test_mirror_by_its_name(mirror, monkeypatch, warnings):
    name = "eltorio/ROCO-radiology"
    monkeypatch.setattr(own_pairs, "load_from_hub", lambda asked, **_: {name: mirror}[asked])
    check_mirror(load_roco(name), warnings, name)
    with pytest.raises(ValueError, match=r"roco \(the mirror eltorio/ROCO-radiology\) train: 1 rows, published 65423"):
        load_roco(name, strict=True)


def test_counts_are_those_of_either_mirror(tmp_path, mirror, monkeypatch, warnings):
    """Nothing differs where a folder holds as many rows as one of them."""
    monkeypatch.setitem(MIRROR_ROWS, "eltorio/ROCO-radiology", dict.fromkeys(CAPTIONS, 1))
    for split, rows in mirror.items():
        rows.select([0]).to_parquet(tmp_path / f"{split}.parquet")
    assert load_roco(tmp_path, strict=True).num_rows == dict.fromkeys(CAPTIONS, 1)
    assert not warnings
