import numpy as np
import pytest
from PIL import Image

from amif.processing_amif.montage_amif import spaced_frames, tile


def test_spaced_frames_are_the_middles_of_equal_parts():
    for frames in range(1, 40):
        assert spaced_frames(frames, 1) == [frames // 2]
        assert spaced_frames(frames, 99) == list(range(frames))
        for number in range(1, frames + 1):
            middles = [frames * (part + 0.5) / number for part in range(number)]
            # The frame in which a middle lies.
            assert spaced_frames(frames, number) == [int(middle + 1e-9) for middle in middles]
            assert len(set(spaced_frames(frames, number))) == number


@pytest.mark.parametrize(("number", "grid"), [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (5, (2, 3)), (9, (3, 3))])
def test_tiles_lie_row_after_row(number, grid):
    images = np.random.default_rng(0).integers(1, 256, (number, 4, 6, 3), dtype=np.uint8)
    tiled = np.asarray(tile([Image.fromarray(image) for image in images]))
    rows, columns = grid
    assert tiled.shape == (4 * rows, 6 * columns, 3)
    tiles = tiled.reshape(rows, 4, columns, 6, 3).swapaxes(1, 2).reshape(-1, 4, 6, 3)
    np.testing.assert_array_equal(tiles[:number], images)
    assert not tiles[number:].any()
