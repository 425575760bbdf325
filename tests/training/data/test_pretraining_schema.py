import pytest
from PIL import Image as Images

from amif.training.data import pretraining_schema as module
from amif.training.data.pretraining_schema import (
    PRETRAINING_FEATURES,
    build_pretraining_dataset,
    build_splits,
    keep_usable,
)


@pytest.fixture
def rows(tmp_path):
    for name in ("a", "b"):
        Images.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    (tmp_path / "damaged.png").write_text("<html>404</html>")
    (tmp_path / "empty.png").touch()
    lists = [["a", "missing", "b"], ["missing"], ["a"], ["b"], ["damaged"], ["empty", "a"]]
    texts = ["Normal.", "normal", None, " ___ ", "Normal.", "Mass."]
    return [
        {
            "images": [tmp_path / f"{name}.png" for name in names],
            "view_positions": list(map(str.upper, names)),
            "text": text,
            "study_id": str(place),
        }
        for place, (names, text) in enumerate(zip(lists, texts, strict=True))
    ]


@pytest.fixture
def said(monkeypatch):
    said = []
    monkeypatch.setattr(module.logger, "warning", said.append)
    return said


def test_unusable_studies_are_counted_reported_and_left_out(rows, said, tmp_path):
    kept = keep_usable(rows, "set train")
    assert [row["study_id"] for row in kept] == ["0", "5"]
    assert [row["view_positions"] for row in kept] == [["A", "B"], ["A"]]
    assert [[path.stem for path in row["images"]] for row in kept] == [["a", "b"], ["a"]]
    assert said == [
        "set train: 4 of 6 studies are left out: 2 without an image that can be read, 2 without a report. "
        f"3 image files are missing or damaged, the first is {tmp_path / 'damaged.png'}."
    ]


def test_nothing_is_said_where_all_is_well(rows, said):
    assert keep_usable([], "set") == []
    whole = [rows[0] | {"images": rows[0]["images"][::2], "view_positions": ["A", "B"]}]
    assert keep_usable(whole, "set", strict=True) == whole
    assert said == []


def test_strict_raises_for_images_alone(rows, said):
    with pytest.raises(ValueError, match=r"3 image files are missing or damaged.*Put complete files"):
        keep_usable(rows, "set", strict=True)
    assert len(keep_usable(rows[2:4], "set", strict=True)) == 0
    assert len(said) == 1


def test_splits_without_a_usable_study_are_left_out(rows, said):
    listed = {"train": rows, "test": rows[1:3]}
    splits = build_splits("set", listed, {"train": 6, "test": 2}, False, {})
    assert {name: len(split) for name, split in splits.items()} == {"train": 2}
    with pytest.raises(FileNotFoundError, match="set: no study has both"):
        build_splits("set", {"test": rows[1:3]}, {}, False, {})
    with pytest.raises(ValueError, match="set train: 6 rows, published 7"):
        build_splits("set", listed, {"train": 7}, True, {})


def test_paths_are_stored_and_opened_when_used(rows):
    dataset = build_pretraining_dataset(rows[:1])
    assert dataset.features == PRETRAINING_FEATURES
    with pytest.raises(FileNotFoundError):
        dataset[0]
    good = build_pretraining_dataset(keep_usable(rows, "set"))
    assert [image.size for image in good[0]["images"]] == [(4, 4), (4, 4)]
