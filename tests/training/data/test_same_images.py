import pytest
from PIL import Image as Images

from amif.training.data import load_vqa_dataset, same_images
from amif.training.data.image_overlap import image_prints, shared_pixels
from amif.training.data.readers.own_data import load_own_data


@pytest.fixture
def said(monkeypatch):
    messages = []
    monkeypatch.setattr(same_images.logger, "warning", messages.append)
    return messages


def table(path, names):
    lines = [f"{name},{place}?,yes" for place, name in enumerate(names)]
    path.write_text("\n".join(["image,question,answer", *lines]))
    return path


def test_copies_stay_on_one_side_of_a_split(tmp_path, said):
    names = []
    for shade in range(12):
        for copy in "ab":
            Images.new("L", (4, 4), shade).save(tmp_path / f"{copy}{shade}.png")
            names.append(f"{copy}{shade}.png")
    path = table(tmp_path / "own.csv", names)
    splits = load_vqa_dataset(path)
    assert shared_pixels(image_prints(splits["train"]), image_prints(splits["validation"])) == {}
    assert {*splits["train"]["image_id"], *splits["validation"]["image_id"]} == set(names)
    assert "image_file" not in splits["train"].column_names
    assert said == [
        f"{path}: 12 images are the same file as another of their split, as 'b0.png' is 'a0.png': where a split is "
        "made by image they stay on one side."
    ]


def test_links_to_one_image_are_one(tmp_path, said):
    Images.new("L", (4, 4), 1).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    rows = load_own_data(table(tmp_path / "own.csv", ["a.png", "b.png"]))
    assert same_images.same_images(rows) == {("train", "b.png"): ("train", "a.png")}
    assert said == []


def test_images_of_two_splits_are_named(tmp_path, said):
    for name, shade in (("a", 1), ("b", 2), ("copy", 1)):
        Images.new("L", (4, 4), shade).save(tmp_path / f"{name}.png")
    table(tmp_path / "train.csv", ["a.png", "b.png"])
    table(tmp_path / "test.csv", ["copy.png", "b.png"])
    load_vqa_dataset(tmp_path)
    assert len(said) == 1
    assert "2 images of one split are shown in another too, as 'copy.png' of test is 'a.png' of train" in said[0]


def test_images_of_one_size_that_differ_are_no_copies(tmp_path, said):
    for shade in range(10):
        Images.new("L", (4, 4), shade).save(tmp_path / f"{shade}.bmp")
    load_vqa_dataset(table(tmp_path / "own.csv", [f"{shade}.bmp" for shade in range(10)]))
    assert said == []
