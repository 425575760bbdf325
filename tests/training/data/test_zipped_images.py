import csv
import zipfile

import pytest
from datasets import Image
from PIL import Image as Images

from amif.training.data.images import open_image
from amif.training.data.readers.own_data import load_own_data
from amif.training.data.zipped_images import image_file_state

GOOD = {"image": "good.png", "question": "Is it?", "answer": "yes"}


@pytest.fixture
def folder(tmp_path):
    Images.new("L", (4, 4), 7).save(tmp_path / "good.png")
    return tmp_path


def csv_file(path, names):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, GOOD)
        writer.writeheader()
        writer.writerows({**GOOD, "image": name, "question": f"{name}?"} for name in names)
    return path


def zipped(path, **files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_images_in_a_zip(folder):
    Images.new("L", (4, 4), 9).save(folder / "other.png")
    content = (folder / "other.png").read_bytes()
    zipped(folder / "images.zip", **{"in/zipped.png": content})
    path = csv_file(folder / "own.csv", ["in/zipped.png", "good.png"])
    beside = load_own_data(path)["train"]
    assert [image.getpixel((0, 0)) for image in beside["image"]] == [9, 7]
    assert beside["image_id"] == ["in/zipped.png", "good.png"]
    cells = beside.cast_column("image", Image(decode=False))["image"]
    assert [open_image(cell).getpixel((0, 0)) for cell in cells] == [9, 7]
    (folder / "images.zip").rename(folder / "moved.zip")
    only = csv_file(folder / "only.csv", ["in/zipped.png"])
    given = load_own_data(only, image_dir=folder / "moved.zip")["train"]
    assert given[0]["image"].getpixel((0, 0)) == 9
    with pytest.raises(FileNotFoundError, match=r"row 1 .*'good\.png' is not in .*moved\.zip, which holds in/zipped"):
        load_own_data(path, image_dir=folder / "moved.zip")


@pytest.mark.parametrize("name", ["../good.png", "/etc/hostname", "in/../../good.png", "..\\good.png", "C:\\good.png"])
def test_a_zip_gives_nothing_outside_of_itself(folder, name):
    archive = zipped(folder / "a.zip", **{"in.png": (folder / "good.png").read_bytes()})
    with pytest.raises(ValueError, match=r"own\.csv: row 0 .*lies outside of .*a\.zip"):
        load_own_data(csv_file(folder / "own.csv", [name]), image_dir=archive)


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png"])
def test_a_zip_with_paths_outside_of_itself_is_refused(folder, name):
    archive = zipped(folder / "a.zip", **{"in.png": b"", name: b""})
    with pytest.raises(ValueError, match=r"a\.zip holds .*evil\.png', a path outside of itself .*refused"):
        load_own_data(csv_file(folder / "own.csv", ["in.png"]), image_dir=archive)
    assert not (folder.parent / "evil.png").exists()


def test_a_damaged_zip(folder):
    (folder / "images.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"images\.zip is not a zip file"):
        load_own_data(csv_file(folder / "own.csv", ["good.png"]))


def test_the_state_of_an_image_in_a_zip_is_that_of_the_zip(folder):
    content = (folder / "good.png").read_bytes()
    archive = zipped(folder / "images.zip", **{"in.png": content})
    (cell,) = load_own_data(csv_file(folder / "own.csv", ["in.png"]))["train"].cast_column("image", Image(decode=False))
    path = cell["image"]["path"]
    before = image_file_state(path)
    assert image_file_state(path) == before
    zipped(archive, **{"in.png": content, "more.png": content})
    assert image_file_state(path) != before
    assert image_file_state(str(folder / "good.png")) != before


@pytest.mark.parametrize(
    ("inside", "name"),
    [
        ("deep/images/a.png", "a.png"),
        ("deep/images/sub/a.png", "sub\\a.png"),
        ("deep/images/a.png", "deep\\images\\a.png"),
    ],
)
def test_files_that_all_lie_in_one_folder_of_a_zip_are_found_without_it(folder, inside, name):
    Images.new("L", (4, 4), 9).save(folder / "other.png")
    content, hidden = (folder / "other.png").read_bytes(), {"__MACOSX/deep/._a.png": b"x", ".DS_Store": b"x"}
    files = {inside: content, "deep/": b"", **hidden}
    zipped(folder / "images.zip", **files, **{inside.replace("sub/", "").replace("a.png", "b.png"): b"x"})
    dataset = load_own_data(csv_file(folder / "own.csv", [name, inside]))["train"]
    assert [image.getpixel((0, 0)) for image in dataset["image"]] == [9, 9]
    assert dataset["image_id"][:] == [inside] * 2


def test_a_name_that_a_folder_of_a_zip_holds_among_others_is_not_guessed(folder):
    zipped(folder / "images.zip", **{"left/a.png": b"x", "right/b.png": b"x"})
    with pytest.raises(FileNotFoundError, match=r"row 0 .*'a\.png' is not in .*images\.zip, which holds left/a\.png"):
        load_own_data(csv_file(folder / "own.csv", ["a.png"]))
