from pathlib import Path

import pytest
from datasets import Image
from PIL import Image as Images
from transformers.utils import logging

from amif.training.data import replace_images, rows_with_alike_images
from amif.training.data.schema import build_vqa_dataset


@pytest.fixture
def dataset(tmp_path):
    rows = []
    for row in range(12):
        image = row % 6
        path = tmp_path / f"{image}.png"
        Images.new("L", (4 + image, 5), 40 * image + 10).save(path)
        rows.append({"image": str(path), "question": f"{row}?", "answer": "yes", "image_id": f"i{image}"})
    return build_vqa_dataset(rows)


KINDS = [("CT", "liver"), ("CT", "lung"), ("CT", "liver"), ("MRI", "liver"), ("CT", "lung"), ("CT", "liver")]


def with_kinds(dataset, kinds=KINDS):
    for column, values in zip(("modality", "organ"), zip(*kinds, strict=True), strict=True):
        dataset = dataset.add_column(column, [values[row % 6] for row in range(len(dataset))])
    return dataset


def shades(dataset):
    return [row["image"].getextrema() for row in dataset]


@pytest.mark.parametrize("seed", range(20))
def test_no_image_is_shown_for_itself(dataset, seed):
    shuffled = replace_images(dataset, "shuffle", seed)
    own, other = shades(dataset), shades(shuffled)
    assert all(a != b for a, b in zip(own, other, strict=True))
    assert sorted(own) == sorted(other)
    assert other[:6] == other[6:], "rows of one image share one"


def test_shuffling_follows_the_seed(dataset):
    assert shades(replace_images(dataset, "shuffle", 1)) == shades(replace_images(dataset, "shuffle", 1))
    assert len({tuple(shades(replace_images(dataset, "shuffle", seed))) for seed in range(8)}) > 1


def test_blank_images_are_black_and_of_the_same_size(dataset):
    blank = replace_images(dataset, "blank")
    assert [row["image"].size for row in blank] == [row["image"].size for row in dataset]
    assert all(row["image"].convert("L").getextrema() == (0, 0) for row in blank)


@pytest.mark.parametrize("how", ["blank", "shuffle", "shuffle_alike"])
def test_all_else_stays(dataset, how):
    own = with_kinds(dataset)
    replaced = replace_images(own, how)
    assert replaced.features == own.features
    kept = rows_with_alike_images(own) if how == "shuffle_alike" else own
    assert replaced.remove_columns("image")[:] == kept.remove_columns("image")[:]


def test_embedded_images(dataset):
    embedded = dataset.cast_column("image", Image(decode=False)).map(
        lambda row: {"image": {"bytes": Path(row["image"]["path"]).read_bytes(), "path": None}}
    )
    embedded = embedded.cast_column("image", Image())
    assert shades(replace_images(embedded, "shuffle", 3)) == shades(replace_images(dataset, "shuffle", 3))


@pytest.mark.parametrize("seed", range(20))
def test_alike_images_are_exchanged_among_themselves(dataset, seed, caplog):
    own = with_kinds(dataset)
    shade_of = dict(zip(own["image_id"], shades(own), strict=True))
    exchanged = replace_images(own, "shuffle_alike", seed)
    # Image 3 alone is of the MRI and liver.
    assert exchanged["image_id"][:] == [image_id for image_id in own["image_id"] if image_id != "i3"]
    assert rows_with_alike_images(own)["question"][:] == exchanged["question"][:]
    kind_of_shade = {shade_of[f"i{image}"]: kind for image, kind in enumerate(KINDS)}
    for row, shade in zip(exchanged, shades(exchanged), strict=True):
        assert shade != shade_of[row["image_id"]]
        assert kind_of_shade[shade] == (row["modality"], row["organ"])


def test_rows_left_out_are_counted_once(dataset, caplog):
    logging.get_logger("transformers").warning_once.cache_clear()
    with caplog.at_level("WARNING"):
        for seed in range(3):
            replace_images(with_kinds(dataset), "shuffle_alike", seed)
    left_out = "2 of 12 questions are about an image without another of its modality and organ"
    assert caplog.text.count(left_out) == 1


def test_organ_alone_makes_images_alike_where_no_modality_is_named(dataset):
    organs = ["liver", None, "liver", None, "lung", None]
    unnamed = with_kinds(dataset, [(None, organ) for organ in organs])
    for known in (unnamed, unnamed.remove_columns("modality")):
        assert rows_with_alike_images(known)["image_id"][:] == ["i0", "i2", "i0", "i2"]


def test_images_of_unknown_kind_are_not_alike(dataset):
    half_known = with_kinds(
        dataset, [("CT", None), ("CT", None), ("CT", "liver"), ("CT", "liver"), (None, None), (None, None)]
    )
    assert set(rows_with_alike_images(half_known)["image_id"]) == {"i2", "i3"}
    assert len(rows_with_alike_images(dataset)) == 0


def test_errors(dataset):
    with pytest.raises(ValueError, match="blank, shuffle, shuffle_alike, got 'none'"):
        replace_images(dataset, "none")
    for unlike in (dataset, with_kinds(dataset, [(str(image), "liver") for image in range(6)])):
        with pytest.raises(ValueError, match="name no two of them: use shuffle"):
            replace_images(unlike, "shuffle_alike")
    with pytest.raises(ValueError, match="single one"):
        replace_images(dataset.select([0, 6]), "shuffle")
