"""Which images two sets share: by their ids, by their pixels, and nearly."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import PIL.Image
from datasets import Dataset

from .images import decode_image
from .shown_values import shown
from .views import cells_of, first_shown, undecoded

# A re-encoded or resized copy differs from its original in 0 to 2 of the 64 bits; unrelated images in about 32.
MAX_HASH_DISTANCE = 4

# Of two thumbnails in grey. Copies reach 0.999, neighbouring slices of one series 0.95, others that hash alike less.
MIN_CORRELATION = 0.95

_THUMBNAIL = (64, 64)


@dataclass(frozen=True)
class ImagePrints:
    """What is compared of a set's n distinct images.

    `ids` as the data name them; `pixels`, sha256 of the size and the decoded RGB pixels; `hashes` (n,) uint64, the
    64-bit difference hash; `thumbnails` (n, 4096) float32 in grey, of mean 0 and norm 1 (0 for an image of one grey).
    """

    ids: list[str]
    pixels: list[str]
    hashes: np.ndarray
    thumbnails: np.ndarray


def image_prints(dataset: Dataset, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> ImagePrints:
    """Open every distinct image of a data set in the schema once, by its id, and keep what is compared.

    Args:
        dataset: Rows with `image` and `image_id`.
        progress: Wraps the loop over images, as tqdm does.

    Raises:
        ValueError: If an image cannot be read; the message names its file and row.
    """
    import imagehash  # with scipy's transforms, which what only names sets has no use for

    first, unread = first_shown(dataset), undecoded(dataset)
    ids = sorted(first)
    pixels, hashes, thumbnails = [], np.zeros(len(ids), dtype=np.uint64), np.zeros((len(ids), 4096), dtype=np.float32)
    for place in progress(range(len(ids))):
        row, view = first[ids[place]]
        image = decode_image(
            cells_of(unread[row]["image"])[view], f"row {row} (counted from 0), image id {shown(ids[place])}"
        )
        pixels.append(hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest())
        hashes[place] = int(str(imagehash.dhash(image)), 16)
        grey = image.convert("L").resize(_THUMBNAIL, PIL.Image.Resampling.BILINEAR)
        centred = np.asarray(grey, dtype=np.float32).ravel()
        centred = centred - centred.mean()
        thumbnails[place] = centred / (np.linalg.norm(centred) or 1)
    return ImagePrints(ids, pixels, hashes, thumbnails)


def shared_by_id(known: ImagePrints, evaluated: ImagePrints) -> list[str]:
    """Ids of images that occur in both sets."""
    return sorted(set(known.ids) & set(evaluated.ids))


def shared_pixels(known: ImagePrints, evaluated: ImagePrints) -> dict[str, list[str]]:
    """For each image of `evaluated` the images of `known` with the same pixels, whatever their ids or file formats."""
    by_pixels: dict[str, list[str]] = defaultdict(list)
    for image_id, pixels in zip(known.ids, known.pixels, strict=True):
        by_pixels[pixels].append(image_id)
    return {
        image_id: by_pixels[pixels]
        for image_id, pixels in zip(evaluated.ids, evaluated.pixels, strict=True)
        if pixels in by_pixels
    }


def near_duplicates(known: ImagePrints, evaluated: ImagePrints) -> dict[str, Mapping[str, float]]:
    """For each image of `evaluated` the images of `known` that are nearly the same, without those of the same pixels.

    Nearly the same are images whose difference hashes differ in at most `MAX_HASH_DISTANCE` bits, if their thumbnails
    confirm it with a correlation of at least `MIN_CORRELATION`, which is given.
    """
    found = {}
    for image_id, pixels, hash_, thumbnail in zip(
        evaluated.ids, evaluated.pixels, evaluated.hashes, evaluated.thumbnails, strict=True
    ):
        candidates = np.flatnonzero(np.bitwise_count(known.hashes ^ hash_) <= MAX_HASH_DISTANCE)
        correlations = known.thumbnails[candidates] @ thumbnail
        near = {
            known.ids[place]: round(float(correlation), 4)
            for place, correlation in zip(candidates, correlations, strict=True)
            if correlation >= MIN_CORRELATION and known.pixels[place] != pixels
        }
        if near:
            found[image_id] = near
    return found
