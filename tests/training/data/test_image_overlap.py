import imagehash
import numpy as np
import PIL.Image
import pytest
from datasets import Image

from amif.training.data.image_overlap import image_prints, near_duplicates, shared_by_id, shared_pixels
from amif.training.data.readers.slake import load_slake
from amif.training.data.schema import build_vqa_dataset


def save(folder, **images):
    for name, image in images.items():
        image.save(folder / name.replace("_png", ".png").replace("_jpg", ".jpg"), quality=80)


def prints(folder, *names):
    rows = [{"image": str(folder / name), "image_id": name, "question": "?"} for name in names for _ in range(2)]
    return image_prints(build_vqa_dataset(rows))


def image(seed, size=(200, 160)):
    """Smooth random structure, as a photograph has and noise has not."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 7), dtype=np.uint8)
    return PIL.Image.fromarray(coarse).resize(size, PIL.Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path, a_png=image(1), b_png=image(2), c_png=image(3), same_png=image(1))
    save(tmp_path, copy_jpg=image(2).resize((101, 80)), grey_png=PIL.Image.new("L", (50, 40)))
    return tmp_path


def test_same_pixels_are_found_under_another_name(folder):
    known, evaluated = prints(folder, "a.png", "b.png", "c.png"), prints(folder, "same.png", "copy.jpg", "c.png")
    assert shared_by_id(known, evaluated) == ["c.png"]
    assert shared_pixels(known, evaluated) == {"same.png": ["a.png"], "c.png": ["c.png"]}


def test_radiographs_of_16_bits_are_told_apart(tmp_path):
    for name, seed in (("a", 1), ("b", 2), ("copy", 1)):
        wide = 1000 + 20 * np.asarray(image(seed), dtype=np.uint16)
        PIL.Image.fromarray(wide).save(tmp_path / f"{name}.png")
    known, evaluated = prints(tmp_path, "a.png"), prints(tmp_path, "b.png", "copy.png")
    assert shared_pixels(known, evaluated) == {"copy.png": ["a.png"]}
    assert near_duplicates(known, prints(tmp_path, "b.png")) == {}


def test_a_smaller_reencoded_copy_is_near_and_the_same_pixels_are_not_counted_again(folder):
    known = prints(folder, "a.png", "b.png", "c.png")
    near = near_duplicates(known, prints(folder, "same.png", "copy.jpg", "c.png", "grey.png"))
    assert list(near) == ["copy.jpg"]
    assert list(near["copy.jpg"]) == ["b.png"]
    assert near["copy.jpg"]["b.png"] > 0.99


def test_correlation_is_numpys_and_the_hash_that_of_imagehash(folder):
    found = prints(folder, "a.png", "b.png")
    thumbnails = [
        np.asarray(PIL.Image.open(folder / name).convert("L").resize((64, 64), PIL.Image.Resampling.BILINEAR)).ravel()
        for name in found.ids
    ]
    assert found.thumbnails[0] @ found.thumbnails[1] == pytest.approx(np.corrcoef(*thumbnails)[0, 1], abs=1e-5)
    first, second = (imagehash.dhash(PIL.Image.open(folder / name).convert("RGB")) for name in found.ids)
    assert np.bitwise_count(found.hashes[0] ^ found.hashes[1]) == first - second


def test_images_that_hash_alike_but_differ_in_pixels_are_no_duplicates(tmp_path):
    """Equal gradients everywhere, hence equal hashes; the bright half makes the pixels differ."""
    ramp = np.tile(np.linspace(0, 40, 180, dtype=np.uint8), (160, 1))
    uneven = ramp.astype(int) + 200 * (np.arange(160) > 80)[:, None]
    images = {"a_png": PIL.Image.fromarray(ramp), "b_png": PIL.Image.fromarray(uneven.astype(np.uint8))}
    save(tmp_path, **images)
    known, evaluated = prints(tmp_path, "a.png"), prints(tmp_path, "b.png")
    assert np.bitwise_count(known.hashes[0] ^ evaluated.hashes[0]) <= 4
    assert near_duplicates(known, evaluated) == {}


def test_embedded_images_are_read_too(folder):
    rows = build_vqa_dataset([{"image": str(folder / "a.png"), "image_id": "a"}]).cast_column("image", Image())
    embedded = rows.map(lambda row: row, load_from_cache_file=False, keep_in_memory=True)
    assert shared_pixels(image_prints(embedded), prints(folder, "same.png")) == {"same.png": ["a"]}


def test_near_duplicates_of_slake_english(data_dir):
    """Slices of one series on both sides of a split that by id, and by pixels, shares nothing."""
    splits = load_slake(data_dir / "slake")
    train, test = (image_prints(splits[name]) for name in ("train", "test"))
    assert shared_by_id(train, test) == []
    assert shared_pixels(train, test) == {}
    near = near_duplicates(train, test)
    assert 10 <= len(near) <= 30
    every = (test.thumbnails @ train.thumbnails.T).max(axis=1)
    of_near = [every[test.ids.index(image_id)] for image_id in near]
    assert min(of_near) >= 0.95
    assert max(of_near) > 0.99


def test_vqa_rad_test_images_in_vqa_med_2019s_training_set(data_dir):
    rad = sorted((data_dir / "vqa_rad" / "images").glob("*.jpg"))
    asked = (data_dir / "vqa_rad" / "testset_questions.json").read_text()
    rad = [path for path in rad if f'"{path.name}"' in asked]
    med = sorted((data_dir / "vqa_med_2019" / "ImageClef-2019-VQA-Med-Training" / "Train_images").glob("*.jpg"))
    shared = {path.name for path in rad} & {path.name for path in med}
    assert (len(rad), len(shared)) == (203, 17)
    some = [path for place, path in enumerate(med) if path.name in shared or place % 40 == 0]
    known, evaluated = (
        image_prints(build_vqa_dataset([{"image": str(path), "image_id": path.stem} for path in paths]))
        for paths in (some, [path for path in rad if path.name in shared])
    )
    assert len(shared_by_id(known, evaluated)) == 17
    assert shared_pixels(known, evaluated) == {}, "one of the two sets is re-encoded"
    near = near_duplicates(known, evaluated)
    assert set(near) == set(evaluated.ids)
    assert all(near[image_id][image_id] > 0.999 for image_id in near)
