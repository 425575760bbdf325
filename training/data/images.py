"""A picture from what a data set's row holds."""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import PIL.Image
from tqdm.auto import tqdm

from ...processing_amif import to_rgb
from .zipped_images import is_zipped, read_zipped


def open_image(value: PIL.Image.Image | Mapping[str, Any]) -> PIL.Image.Image:
    """The picture of an `image` cell: a PIL image, or the `{"path", "bytes"}` that datasets gives undecoded.

    The path may name a file in a zip, as `zip://<name>::<zip>`. The pixels are read only when used.

    Raises:
        ValueError: when there is no such file, or it is no picture.
    """
    if isinstance(value, PIL.Image.Image):
        return value
    name = value["path"] or "embedded in the data"
    try:
        picture = PIL.Image.open(_file(value))
    except Exception as error:  # forty formats' plugins raise all kinds of errors for damaged files
        reason = "it is no image, or of an unknown format" if isinstance(error, PIL.UnidentifiedImageError) else error
        cure = (
            "save as PNG what amif.processing_amif.read_dicom gives" if ".dcm" in name else "give a complete image file"
        )
        raise ValueError(f"cannot read the image {name} ({reason}): {cure}") from None
    picture.filename = name  # for messages about its pixels
    return picture


def _file(value: Mapping[str, Any]) -> io.BytesIO | str:
    if value["bytes"]:
        return io.BytesIO(value["bytes"])
    return io.BytesIO(read_zipped(value["path"])) if is_zipped(value["path"]) else value["path"]


def unreadable_pictures(keys: Sequence[str], cell_of: Callable[[str], Mapping[str, Any]]) -> dict[str, str]:
    """Decode every picture once, with a progress bar, and say what is wrong with those that cannot be.

    Pillow decodes outside Python's lock, hence threads; a JPEG file is read to its end but decoded at an eighth of its
    size, which costs a fraction and still meets every missing or damaged byte that a full decoding would.

    Args:
        keys: what tells the pictures apart.
        cell_of: the undecoded `image` cell of a key.

    Returns:
        By key, the reason why a picture cannot be used; empty where all can.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(lambda key: _reason(cell_of(key)), keys)
        reasons = dict(zip(keys, tqdm(found, "Checking images", len(keys), leave=False), strict=True))
    return {key: reason for key, reason in reasons.items() if reason is not None}


def _reason(cell: Mapping[str, Any]) -> str | None:
    try:
        picture = open_image(cell)
        picture.draft(picture.mode, (1, 1))
        to_rgb(picture)
    except (ValueError, TypeError) as error:
        return f"{error}."
    return None
