"""A picture from what a data set's row holds."""

import io
from collections.abc import Mapping
from typing import Any

import PIL.Image


def open_image(value: PIL.Image.Image | Mapping[str, Any]) -> PIL.Image.Image:
    """The picture of an `image` cell: a PIL image, or the `{"path", "bytes"}` that datasets gives undecoded.

    The pixels are read only when used.
    """
    if isinstance(value, PIL.Image.Image):
        return value
    return PIL.Image.open(io.BytesIO(value["bytes"]) if value["bytes"] else value["path"])
