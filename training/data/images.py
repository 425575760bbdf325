"""An image from what a data set's row holds."""

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import PIL.Image
import PIL.ImageFile
from tqdm.auto import tqdm

from ...processing_amif import to_rgb
from ...processing_amif.images_amif import IMAGE_FORMATS, reader_of, unreadable
from .zipped_images import is_zipped, read_zipped


class ImageCell(TypedDict):
    """An undecoded `image` of a row, as datasets gives it: the encoded bytes, or a path where they are None or empty.

    The path may name a file in a zip, as `zip://<name>::<zip>`.
    """

    bytes: bytes | None
    path: str | None


def path_cell(path: str) -> ImageCell:
    """The undecoded `image` cell of a file on disk or in a zip."""
    return {"path": path, "bytes": None}


def image_id_of(cell: ImageCell | str) -> str | None:
    """What tells an image without an id from others: a hash of its bytes, or its path where it is not embedded."""
    if isinstance(cell, str):
        return cell
    # The path beside embedded bytes is not trusted: mirrors give every image the same one, or none.
    return hashlib.sha256(cell["bytes"]).hexdigest()[:16] if cell["bytes"] else cell["path"]


def open_image(value: PIL.Image.Image | ImageCell | None) -> PIL.Image.Image:
    """The image of an `image` cell: a PIL image, or an undecoded cell. The pixels are read only when used.

    DICOM and NIfTI, known by their first bytes or the file's name, are read at once, as `read_dicom` and `read_nifti`
    show them by default: of several frames or slices the middle one.

    Raises:
        ImportError: If it is DICOM or NIfTI, and pydicom or nibabel is not installed.
        ValueError: If there is no such file, or it is neither one of these nor an image of `IMAGE_FORMATS`.
    """
    if isinstance(value, PIL.Image.Image):
        return value
    if value is None:
        raise ValueError("there is no image: every row needs one")
    name = value["path"] or "embedded in the data"
    try:
        file = image_file(value)
        opened = reader_of(file) or PIL.Image.open(file, formats=IMAGE_FORMATS)
    except FileNotFoundError:
        raise ValueError(f"the image {name} is not there: put it back, or leave its rows out") from None
    except Exception as error:  # the formats' plugins raise all kinds of errors for damaged files
        raise unreadable(name, error) from None
    if not isinstance(opened, PIL.ImageFile.ImageFile):
        return opened(file, name=name)
    opened.filename = name  # for messages about its pixels
    return opened


def decode_image(value: PIL.Image.Image | ImageCell | None, where: str) -> PIL.Image.Image:
    """`to_rgb` of an `image` cell.

    Args:
        value: As for `open_image`.
        where: The row that shows it, which the message of an error begins with.

    Raises:
        ValueError: If its file has vanished since it was listed, or it cannot be read.
    """
    try:
        return to_rgb(open_image(value))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}.") from None


def image_file(cell: ImageCell) -> io.BytesIO | str:
    """Where a cell's bytes are: in memory, those embedded or in an archive, or else the path of a file.

    Raises:
        ValueError: If the cell has neither bytes nor a path.
    """
    content, path = cell["bytes"], cell["path"]
    if content:
        return io.BytesIO(content)
    if path is None:
        raise ValueError("it has neither bytes nor a path")
    return io.BytesIO(read_zipped(path)) if is_zipped(path) else path


def unreadable_images(keys: Sequence[str], cell_of: Callable[[str], ImageCell]) -> dict[str, str]:
    """Decode every image once, with a progress bar, and say what is wrong with those that cannot be.

    Pillow decodes outside Python's lock, hence threads; a JPEG file is read to its end but decoded at an eighth of its
    size, which costs a fraction and still meets every missing or damaged byte that a full decoding would.

    Args:
        keys: What tells the images apart.
        cell_of: The undecoded `image` cell of a key.

    Returns:
        By key, the reason why an image cannot be used; empty where all can.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(lambda key: _reason(cell_of(key)), keys)
        reasons = dict(zip(keys, tqdm(found, "Checking images", len(keys), leave=False), strict=True))
    return {key: reason for key, reason in reasons.items() if reason is not None}


def _reason(cell: ImageCell) -> str | None:
    try:
        image = open_image(cell)
        image.draft(image.mode, (1, 1))
        to_rgb(image)
    except (ValueError, TypeError) as error:
        return f"{error}."
    return None
