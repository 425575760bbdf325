from pathlib import Path

import pytest
from datasets import Image
from PIL import Image as Pictures

from amif.training.data import ablate_images
from amif.training.data.schema import build_vqa_dataset


@pytest.fixture
def dataset(tmp_path):
    rows = []
    for row in range(12):
        image = row % 6
        path = tmp_path / f"{image}.png"
        Pictures.new("L", (4 + image, 5), 40 * image + 10).save(path)
        rows.append({"image": str(path), "question": f"{row}?", "answer": "yes", "image_id": f"i{image}"})
    return build_vqa_dataset(rows)


def shades(dataset):
    return [row["image"].getextrema() for row in dataset]


@pytest.mark.parametrize("seed", range(20))
def test_no_image_keeps_its_own_picture(dataset, seed):
    shuffled = ablate_images(dataset, "shuffle", seed)
    own, other = shades(dataset), shades(shuffled)
    assert all(a != b for a, b in zip(own, other, strict=True))
    assert sorted(own) == sorted(other)
    assert other[:6] == other[6:], "rows of one image share a picture"


def test_shuffling_follows_the_seed(dataset):
    assert shades(ablate_images(dataset, "shuffle", 1)) == shades(ablate_images(dataset, "shuffle", 1))
    assert len({tuple(shades(ablate_images(dataset, "shuffle", seed))) for seed in range(8)}) > 1


def test_blank_pictures_are_black_and_of_the_same_size(dataset):
    blank = ablate_images(dataset, "blank")
    assert [row["image"].size for row in blank] == [row["image"].size for row in dataset]
    assert all(row["image"].convert("L").getextrema() == (0, 0) for row in blank)


@pytest.mark.parametrize("how", ["blank", "shuffle"])
def test_all_else_stays(dataset, how):
    ablated = ablate_images(dataset, how)
    assert ablated.features == dataset.features
    assert ablated.remove_columns("image")[:] == dataset.remove_columns("image")[:]


def test_embedded_pictures(dataset):
    embedded = dataset.cast_column("image", Image(decode=False)).map(
        lambda row: {"image": {"bytes": Path(row["image"]["path"]).read_bytes(), "path": None}}
    )
    embedded = embedded.cast_column("image", Image())
    assert shades(ablate_images(embedded, "shuffle", 3)) == shades(ablate_images(dataset, "shuffle", 3))


def test_errors(dataset):
    with pytest.raises(ValueError, match="'blank' or 'shuffle'"):
        ablate_images(dataset, "none")
    with pytest.raises(ValueError, match="single one"):
        ablate_images(dataset.select([0, 6]), "shuffle")
