"""A volume as one image: a montage of evenly spaced slices."""

import math
from collections.abc import Sequence

from PIL import Image


def spaced_frames(frames: int, number: int) -> list[int]:
    """The middle ones of `number` equal parts of so many frames, counted from 0; all where there are not more."""
    number = min(frames, number)
    return [(2 * part + 1) * frames // (2 * number) for part in range(number)]


def tile(images: Sequence[Image.Image]) -> Image.Image:
    """Images of one size and mode in rows of a grid, as many in a row as there are rows or one more; the rest is black.

    A single image stays as it is.
    """
    width, height = images[0].size
    columns = math.ceil(math.sqrt(len(images)))
    tiled = Image.new(images[0].mode, (columns * width, math.ceil(len(images) / columns) * height))
    for place, image in enumerate(images):
        tiled.paste(image, (place % columns * width, place // columns * height))
    return tiled
