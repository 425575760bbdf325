"""The images of a data set, small enough that a page holds all of them."""

import io
import os
from concurrent.futures import ThreadPoolExecutor

from datasets import Dataset

from ...processing_amif import to_rgb
from ..data.images import ImageCell, open_image
from ..data.views import cells_of, first_shown, undecoded

# Of all images together, as JPEG and in bytes; in base64 a third more.
BUDGET = 10_000_000

_LONGEST_SIDE = 512

# What a radiograph or a slice takes as JPEG at these sizes; one that takes more is made smaller.
_BYTES_PER_PIXEL = 0.2


def thumbnails(dataset: Dataset, budget: int = BUDGET) -> dict[str, bytes | None]:
    """Images of a data set as JPEG files without metadata, each decoded once.

    Args:
        dataset: Rows of the schema.
        budget: Bytes of all together, of which each image gets the same share.

    Returns:
        By the ids of `view_ids_of`, in the order of the rows, an image of at most 512 pixels a side; None where it
        cannot be read.
    """
    rows, places = undecoded(dataset.select_columns("image")), first_shown(dataset)
    share = budget // max(len(places), 1)
    # Pillow decodes outside Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        encoded = threads.map(lambda at: _jpeg(cells_of(rows[at[0]]["image"])[at[1]], share), places.values())
        return dict(zip(places, encoded, strict=True))


def _jpeg(cell: ImageCell, most_bytes: int) -> bytes | None:
    side = min(_LONGEST_SIDE, max(1, int((most_bytes / _BYTES_PER_PIXEL) ** 0.5)))
    try:
        opened = open_image(cell)
        opened.draft(opened.mode, (side, side))  # a JPEG is decoded no larger than needed
        image = to_rgb(opened)
    except (ValueError, TypeError, ImportError):
        return None
    image.info = {}  # comments of the file may name a patient
    while True:
        image.thumbnail((side, side))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=80)
        if file.tell() <= most_bytes or side == 1:
            return file.getvalue()
        side = max(1, side * 3 // 4)
