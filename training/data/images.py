"""A picture from what a data set's row holds."""

import io
from collections.abc import Mapping
from typing import Any

import PIL.Image

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
