import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from amif.training.data import LateralitySafeAugmentation


@pytest.fixture
def marked():
    picture = Image.new("RGB", (120, 100), (60, 60, 60))
    ImageDraw.Draw(picture).rectangle((18, 40, 30, 60), fill=(255, 0, 0))
    return picture


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
    picture = LateralitySafeAugmentation(48)(marked, epoch=0, row=0)
    assert (picture.size, picture.mode) == ((48, 48), "RGB")
