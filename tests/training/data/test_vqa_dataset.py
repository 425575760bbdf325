import json

import pytest
from datasets import Dataset
from PIL import Image as Images
from written_tables import write

from amif.training.data import images, load_vqa_dataset
from amif.training.data.schema import VQA_FEATURES
from amif.training.data.vqa_dataset import READERS


@pytest.mark.parametrize("name", ["vqa_radd", "nowhere.csv", "data/nowhere.csv", "/no/such/folder", "../nowhere"])
def test_unknown_names_list_the_readers(name):
    with pytest.raises(ValueError, match=r"phantom, vqa_rad, slake, path_vqa, .*mimic_cxr_vqa\. For your own data"):
        load_vqa_dataset(name)


@pytest.mark.parametrize("name", READERS)
def test_readers_ask_for_their_folder(name):
    with pytest.raises(ValueError, match=f"{name} is read from a local copy: give data_dir"):
        load_vqa_dataset(name)


def test_own_data_gets_a_validation_split_by_image(tmp_path):
    rows = [{"scan": f"{row % 10}.png", "question": f"{row}?", "answer": row} for row in range(40)]
    for row in range(10):
        Images.new("L", (4, 4), row).save(tmp_path / f"{row}.png")
    (tmp_path / "own.json").write_text(json.dumps(rows))
    splits = load_vqa_dataset(tmp_path / "own.json", image_column="scan")
    assert {name: len(split) for name, split in splits.items()} == {"train": 32, "validation": 8}
    assert list(splits["train"].features) == [*VQA_FEATURES, "modality", "organ"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_own_data_decodes_each_image_once_and_reads_columns_at_once(tmp_path, monkeypatch, suffix):
    """A row at a time costs as much as a thousand do together."""
    rows = [{"image": f"{row % 4}.png", "question": f"{row}?", "answer": str(row)} for row in range(24)]
    for row in range(4):
        Images.new("L", (4, 4), row).save(tmp_path / f"{row}.png")
    write(tmp_path / f"own{suffix}", rows)
    decoded, of_rows, one_by_one = [], [], Dataset.__iter__
    monkeypatch.setattr(images, "to_rgb", lambda image: decoded.append(image.filename))
    monkeypatch.setattr(Dataset, "__iter__", lambda self: map(lambda row: of_rows.append(row) or row, one_by_one(self)))
    splits = load_vqa_dataset(tmp_path / f"own{suffix}")
    assert sum(map(len, splits.values())) == 24
    assert sorted(decoded) == [str(tmp_path / f"{row}.png") for row in range(4)]
    assert len(of_rows) == (24 if suffix == ".parquet" else 0)  # a file of Arrow's kind gives its rows once


def test_a_way_to_make_validation_where_there_is_one_is_named(caplog):
    load_vqa_dataset("phantom", num_studies=40)
    assert not caplog.messages
    load_vqa_dataset("phantom", num_studies=40, validation_by="question")
    assert caplog.messages == [
        "validation_by question changes nothing: these data have a validation split of their own."
    ]


def test_own_data_gets_a_validation_split_by_row_or_none(tmp_path):
    Images.new("L", (4, 4)).save(tmp_path / "one.png")
    rows = [{"image": "one.png", "question": f"{row}?", "answer": row} for row in range(20)]
    (tmp_path / "own.json").write_text(json.dumps(rows))
    splits = load_vqa_dataset(tmp_path / "own.json", validation_by="wording")
    assert {name: len(split) for name, split in splits.items()} == {"train": 17, "validation": 3}
    assert list(load_vqa_dataset(tmp_path / "own.json", validation_by=None)) == ["train"]
    with pytest.raises(ValueError, match=r"validation_by 'question' .* no column 'rephrasing_of' .* give 'wording'"):
        load_vqa_dataset(tmp_path / "own.json", validation_by="question")
    with pytest.raises(ValueError, match="'patient' is none of image, question, wording, official and None"):
        load_vqa_dataset(tmp_path / "own.json", validation_by="patient")


def test_a_fold_of_data_with_a_validation_split_is_refused():
    with pytest.raises(ValueError, match="these data have train, validation, test: leave it out"):
        load_vqa_dataset("phantom", num_studies=40, validation_fold=1)


def test_a_fold_that_cannot_be_made_is_not_left_out_silently(tmp_path):
    Images.new("L", (4, 4)).save(tmp_path / "a.png")
    for name, error in (("test.csv", "these data have test: leave it out"), ("train.csv", "5 images or more, got 1")):
        (tmp_path / name).write_text("image,question,answer\na.png,which?,left\n")
        with pytest.raises(ValueError, match=error):
            load_vqa_dataset(tmp_path / name, validation_fold=2)


@pytest.mark.parametrize("name", READERS)
def test_real_sets_share_the_schema(name, data_dir):
    if not (data_dir / name).is_dir():
        pytest.skip(f"{data_dir / name} is absent")
    splits = load_vqa_dataset(name, data_dir / name, strict=True)
    assert list(splits) == ["train", "validation", "test"]
    for split in splits.values():
        assert split.features.items() >= VQA_FEATURES.items()


def test_slake_takes_its_language(data_dir):
    assert len(load_vqa_dataset("slake", data_dir / "slake", language="zh")["test"]) == 1033


def test_phantom_takes_its_size():
    splits = load_vqa_dataset("phantom", num_studies=12, image_size=32)
    assert set(splits) == {"train", "validation", "test"}
    for split in splits.values():
        assert split.features.items() >= VQA_FEATURES.items()
        assert split[0]["image"].size == (32, 32)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("vqa_rad", "language", "vqa_rad takes no language; it takes no such option"),
        ("slake", "num_studies", "slake takes no num_studies; it takes language"),
        ("phantom", "image_column", "phantom takes no image_column; it takes image_size, num_studies, seed"),
        (
            "own.csv",
            "language",
            "own.csv takes no language; it takes answer_column, answer_type_column, ignore_columns",
        ),
    ],
)
def test_options_that_do_not_apply_are_refused(tmp_path, monkeypatch, name, option, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").touch()
    with pytest.raises(ValueError, match=message):
        load_vqa_dataset(name, tmp_path, **{option: "en"})
