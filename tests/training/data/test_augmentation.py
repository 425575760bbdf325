import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from amif.training.data import LateralitySafeAugmentation, StrongAugmentation
from amif.training.data.augmentation import DISTORTIONS


@pytest.fixture
def marked():
    image = Image.new("RGB", (120, 100), (60, 60, 60))
    ImageDraw.Draw(image).rectangle((18, 40, 30, 60), fill=(255, 0, 0))
    return image


def test_left_stays_left(marked):
    augment = LateralitySafeAugmentation(64)
    seen = 0
    for row in range(200):
        pixels = np.asarray(augment(marked, epoch=0, row=row)).astype(int)
        red = (pixels[..., 0] - pixels[..., 1]) > 40
        if red.any():
            seen += 1
            assert np.nonzero(red)[1].mean() < 32
    assert seen > 150


def test_the_draw_is_that_of_seed_epoch_and_row(marked):
    def pixels(seed=0, epoch=0, row=0):
        return np.asarray(LateralitySafeAugmentation(32, seed=seed)(marked, epoch=epoch, row=row)).tobytes()

    first = pixels()
    torch.rand(5)
    assert pixels() == first
    assert len({first, pixels(seed=1), pixels(epoch=1), pixels(row=1), pixels(epoch=1, row=1)}) == 5


def test_global_random_state_is_untouched(marked):
    torch.manual_seed(0)
    random.seed(0)
    before, python_before = torch.get_rng_state(), random.getstate()
    LateralitySafeAugmentation(32)(marked, epoch=0, row=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python_before


def test_size_and_mode(marked):
    image = LateralitySafeAugmentation(48)(marked, epoch=0, row=0)
    assert (image.size, image.mode) == ((48, 48), "RGB")


@pytest.fixture
def marked_square():
    image = Image.new("RGB", (120, 100), (90, 90, 90))
    ImageDraw.Draw(image).rectangle((24, 30, 50, 70), fill=(255, 255, 255))
    return image


def test_in_strong_augmentation_left_stays_left(marked_square):
    augment = StrongAugmentation(64)
    left = 0
    for row in range(120):
        grey = np.asarray(augment(marked_square, epoch=0, row=row).convert("L")).astype(float)
        left += np.argmax(grey.sum(0)) < 32
    assert left > 117


def test_a_strong_draw_is_that_of_seed_epoch_and_row(marked_square):
    def pixels(seed=0, epoch=0, row=0):
        return StrongAugmentation(32, seed=seed)(marked_square, epoch=epoch, row=row).tobytes()

    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = pixels()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert pixels() == first
    assert len({first, pixels(seed=1), pixels(epoch=1), pixels(row=1)}) == 4


def test_each_part_works_as_often_as_stated():
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8))
    parts = StrongAugmentation(60).transform.transforms
    torch.manual_seed(0)
    changed = [np.mean([part(colours).tobytes() != colours.tobytes() for _ in range(300)]) for part in parts]
    crop, jitter, grey, distortions, blur = changed
    assert crop > 0.95
    assert 0.52 < jitter < 0.68
    assert 0.05 < grey < 0.16
    # Two of eight operations, one of which is the identity, leave one in 64 untouched.
    assert 0.8 * 63 / 64 - 0.07 < distortions < 0.86
    assert 0.22 < blur < 0.38


def test_distortions_are_small_and_different(marked_square):
    results = [operation(marked_square, sign) for operation in DISTORTIONS for sign in (-1, 1)]
    assert {(image.size, image.mode) for image in results} == {((120, 100), "RGB")}
    # Identity, equalize and sharpness have no direction; the five others have two each.
    assert len({image.tobytes() for image in results}) == 3 + 2 * 5
    before = np.asarray(marked_square).astype(float)
    moved = [np.abs(np.asarray(image).astype(float) - before).mean() for image in results[4:]]
    assert 0 < max(moved) < 40


def test_size_and_mode_of_strong_augmentation(marked_square):
    image = StrongAugmentation(48)(marked_square, epoch=0, row=0)
    assert (image.size, image.mode) == ((48, 48), "RGB")
