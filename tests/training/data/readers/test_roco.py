import csv

import pytest
from PIL import Image as Images

from amif.training.data import load_pretraining_dataset
from amif.training.data.readers.roco import load_roco

CAPTIONS = {
    "train": [("1", " A mass\u2028on the left."), ("2", "Ct, axial."), ("5", " ")],
    "validation": [("3", "Normal.")],
    "test": [("4", "Cyst.")],
}


@pytest.fixture(params=[".", "data", "all_data"])
def folder(request, tmp_path):
    for split, captions in CAPTIONS.items():
        images = tmp_path / request.param / split / "radiology" / "images"
        images.mkdir(parents=True)
        for number, _ in captions:
            Images.new("L", (4, 4), int(number)).save(images / f"ROCO_0000{number}.jpg")
        lines = "".join(f"ROCO_0000{number}\t{caption}\n" for number, caption in captions)
        (images.parent / "captions.txt").write_text(lines, encoding="utf-8")
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
