"""Folders of Parquet and WebDataset shards, read bit by bit."""

import io
import json
import tarfile

import numpy as np
import pytest
from datasets import Dataset, IterableDataset
from PIL import Image

from amif.training.data import PretrainingStream, load_pretraining_dataset
from amif.training.data.readers.shards import find_shards, stream_shards
from amif.training.data.streams import with_read_evaluation


def png(grey):
    content = io.BytesIO()
    Image.new("L", (8, 8), grey).save(content, "PNG")
    return content.getvalue()


def write_tar(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in samples:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def grey(cell):
    return int(np.asarray(Image.open(io.BytesIO(cell["bytes"])))[0, 0])


def test_a_key_of_a_tar_file_is_a_study_of_all_its_images(tmp_path):
    for shard in range(2):
        keys = [f"s{3 * shard + place}" for place in range(3)]
        samples = [
            (f"{key}.{name}", content)
            for place, key in enumerate(keys)
            for name, content in (
                ("frontal.png", png(10 * (3 * shard + place))),
                ("lateral.png", png(10 * (3 * shard + place) + 1)),
                ("txt", f"report of {key}".encode()),
                ("json", json.dumps({"site": "north", "age": 7}).encode()),
            )
        ]
        write_tar(tmp_path / f"train-{shard:04d}.tar", samples)
    stream = load_pretraining_dataset(tmp_path, streaming=True)["train"]
    assert isinstance(stream, IterableDataset)
    assert stream.num_shards == 2
    rows = list(PretrainingStream(stream))
    assert [row["study_id"] for row in rows] == [f"s{place}" for place in range(6)]
    assert [row["text"] for row in rows] == [f"report of s{place}" for place in range(6)]
    assert [[grey(image) for image in row["images"]] for row in rows] == [[10 * i, 10 * i + 1] for i in range(6)]
    assert {(row["site"], row["age"]) for row in rows} == {("north", 7)}
    (one,) = {len(row["images"]) for row in PretrainingStream(named(tmp_path, image_column="lateral.png"))}
    assert one == 1


def named(folder, **names):
    return load_pretraining_dataset(folder, streaming=True, **names)["train"]


def test_columns_of_a_tar_file_are_named_as_in_own_data(tmp_path):
    about = json.dumps({"caption": "a mass", "accession": "a7"}).encode()
    write_tar(tmp_path / "0.tar", [("x.jpg", png(5)), ("x.json", about)])
    (row,) = PretrainingStream(named(tmp_path, image_column="jpg", text_column="caption", study_column="accession"))
    assert (row["text"], row["study_id"], len(row["images"])) == ("a mass", "a7", 1)
    with pytest.raises(ValueError, match="has no column 'report'; it has"):
        named(tmp_path, text_column="report")


def test_shards_are_of_the_split_that_their_name_or_folder_says(tmp_path):
    for name in ("train/0.parquet", "train/1.parquet", "val/0.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Dataset.from_dict({"text": ["one"]}).to_parquet(tmp_path / name)
    shards = find_shards(tmp_path)
    assert {split: [file.parent.name + file.stem for file in files] for split, files in shards.items()} == {
        "train": ["train0", "train1"],
        "validation": ["val0"],
    }
    (tmp_path / "part.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match="is of no split by its name, and others are: let all names"):
        find_shards(tmp_path)
    (tmp_path / "part.parquet").rename(tmp_path / "val.tar")
    with pytest.raises(ValueError, match="holds Parquet and tar files: give the folder of one of them"):
        find_shards(tmp_path)
    (tmp_path / "table.csv").write_text("text\n")
    assert find_shards(tmp_path) == {}, "a folder of tables"


def test_sets_that_stand_by_themselves_are_not_joined(tmp_path):
    for name in ("test-00000.parquet", "test-00001.parquet", "train.parquet"):
        Dataset.from_dict({"text": ["one"]}).to_parquet(tmp_path / name)
    assert len(find_shards(tmp_path)["test"]) == 2
    (tmp_path / "test-00001.parquet").rename(tmp_path / "test_clean.parquet")
    with pytest.raises(ValueError, match=r"test-00000\.parquet, test_clean\.parquet are all test by their names"):
        find_shards(tmp_path)


def test_a_shard_and_its_copy_are_not_joined(tmp_path):
    """Those of two splits may have one name."""
    for folder in ("train", "test", "data"):
        (tmp_path / folder).mkdir()
    for name in ("train/0.parquet", "test/0.parquet"):
        Dataset.from_dict({"text": ["one"]}).to_parquet(tmp_path / name)
    assert [len(files) for files in find_shards(tmp_path).values()] == [1, 1]
    for name in ("train_1.parquet", "data/train_1.parquet"):
        Dataset.from_dict({"text": ["one"]}).to_parquet(tmp_path / name)
    with pytest.raises(ValueError, match=r"train_1\.parquet and .*train_1\.parquet have one name"):
        find_shards(tmp_path)


def test_what_is_evaluated_is_read_into_memory(tmp_path):
    for split, number in (("train", 3), ("validation", 5)):
        rows = {"image": [{"bytes": png(i), "path": None} for i in range(number)], "text": ["one"] * number}
        Dataset.from_dict(rows).to_parquet(tmp_path / f"{split}.parquet")
    streams = load_pretraining_dataset(tmp_path, streaming=True)
    splits = with_read_evaluation(streams, limit=4)
    assert isinstance(splits["train"], IterableDataset)
    assert [grey(image) for (image,) in splits["validation"].with_format("arrow")["images"].to_pylist()] == [0, 1, 2, 3]
    assert splits["validation"][2]["images"][0].getpixel((0, 0)) == 2
    with pytest.raises(ValueError, match="no shards to train on, but validation: let their names begin with train"):
        with_read_evaluation({"validation": streams["validation"]})


def test_a_view_that_would_be_lost_is_refused(tmp_path):
    """datasets takes the columns from the first five keys, and says nothing of a column that a later key has."""
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for name in (*(f"s{study}.a.png" for study in range(6)), "s6.a.png", "s6.b.png"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(ValueError, match=r"0\.tar: 's6' has a file \.b\.png, and the first study of train, 's0'"):
        stream_shards(find_shards(tmp_path), "image")
