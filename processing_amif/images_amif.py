"""Any image that a radiology data set may hold, as a plain 8-bit RGB image."""

import base64
import io
import os
import re
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from .dicom_amif import is_dicom, read_dicom
from .image_damage_amif import check_undamaged
from .nifti_amif import is_nifti, read_nifti
from .stretching_amif import stretch

# Of Linux and most others, in bytes; an image in base64 is longer.
_LONGEST_PATH = 4096

# How PNG, JPEG, GIF, WebP and TIFF begin in base64.
_BASE64_BEGINNINGS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "SUkq", "TU0A")

AmifImage = Image.Image | np.ndarray | torch.Tensor | str | Path

# Images that one question may be about; the model, which processors do not know, says the same.
MAX_VIEWS = 4

# Pillow's others are rare, or call other programs (EPS), or hold more than images.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

_PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO = 262, 0


def to_rgb(image: AmifImage) -> Image.Image:
    """Bring one image to mode RGB, upright, 8 bits a channel.

    8-bit values are kept as they are. Wider integers and floats of one channel, and arrays and tensors of several, are
    stretched linearly from the image's own [min, max] to [0, 255]; of files with 16 bits a colour the upper 8 are
    read. Where a TIFF says that white is zero, more is darker. Transparent pixels lie on black. The EXIF orientation is
    applied. Of several pages or frames the first is read.

    What of a file is seen to be damaged: an end that is missing; of PNG every wrong byte, by its checksums; of JPEG 32
    zero bytes in a row where its code cannot mean them, and what stops the decoder. Other wrong bytes within JPEG, BMP,
    PPM and uncompressed TIFF are pixels like any other.

    Args:
        image: A PIL image of any mode; a numpy array (H, W) or (H, W, 1 | 3 | 4); a torch tensor (C, H, W); or the path
            of a local file, BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF, WebP, DICOM as `read_dicom` shows it or NIfTI
            as `read_nifti` does; or the text of such a file in base64, as web pages send it, but not of the last two.

    Returns:
        A PIL image of mode RGB and the upright size.

    Raises:
        ValueError: If the file is missing, damaged, of another format or too large; the path is a URL; the image is
            empty; the array has another shape, holds NaN or infinity, or masks pixels.
        TypeError: If the image or its values are of another type.
        ImportError: If the file is DICOM or NIfTI, and pydicom or nibabel is not installed.
    """
    if isinstance(image, str | Path):
        return _read_rgb(image)
    if isinstance(image, Image.Image):
        return _pil_to_rgb(image, getattr(image, "filename", "") or "the given PIL image")
    if isinstance(image, torch.Tensor):
        return _array_to_rgb(_channels_last(image))
    if isinstance(image, np.ndarray):
        return _array_to_rgb(image)
    raise TypeError(
        f"an image must be a PIL image, a numpy array, a torch tensor or a local path, not {type(image).__name__}; "
        "pass several images as a list"
    )


def unique_images(images: Sequence[AmifImage]) -> tuple[list[AmifImage], list[int]]:
    """Split a list of B images into its U different ones and, for each of the B, its place among them.

    Two entries are the same image when they are the same object or the same path; pixels are not compared.
    """
    places: dict[str | int, int] = {}
    unique, index = [], []
    for image in images:
        key = os.fspath(image) if isinstance(image, str | Path) else id(image)
        if key not in places:
            places[key] = len(unique)
            unique.append(image)
        index.append(places[key])
    return unique, index


def views_of(images: AmifImage | Sequence[AmifImage]) -> list[AmifImage]:
    """The images that one question is about: a list of them, or one image, which is a list of one.

    Raises:
        ValueError: If there are none, or more than `MAX_VIEWS`.
    """
    # Of a union that holds sequences of itself the checker keeps the whole behind the branch.
    views = cast(list[AmifImage], list(images) if isinstance(images, list | tuple) else [images])
    if not 0 < len(views) <= MAX_VIEWS:
        raise ValueError(f"a question has {len(views)} images: give it 1 to {MAX_VIEWS}")
    return views


def view_index(numbers_of_views: Sequence[int], places: Sequence[int]) -> list[int] | list[list[int]]:
    """The place of each question's image; or those of its views, and -1 for each that another question has more.

    Args:
        numbers_of_views: How many images each of B questions has.
        places: Of all these, question after question.

    Returns:
        B places where each question has one image, else B lists of as many as the most that one has.
    """
    following = iter(places)
    rows = [list(islice(following, number)) for number in numbers_of_views]
    most = max(numbers_of_views)
    return [row[0] for row in rows] if most == 1 else [row + [-1] * (most - len(row)) for row in rows]


def _read_rgb(path: str | Path) -> Image.Image:
    if re.match(r"\w[\w+.-]*://", str(path)):
        raise ValueError(f"{path} is a URL and amif downloads nothing: save the image and pass its local path")
    content = _decode_base64(str(path))
    name = path if content is None else f"in base64 of {len(str(path))} characters"
    try:
        file = path if content is None else io.BytesIO(content)
        opened = (reader_of(path) if content is None else None) or Image.open(file, formats=IMAGE_FORMATS)
    except Exception as error:  # Pillow's decoders raise errors of every kind for damaged files
        raise unreadable(name, error) from None
    if not isinstance(opened, Image.Image):
        return opened(path).convert("RGB")
    with opened:
        return _pil_to_rgb(opened, name)


def reader_of(file: str | Path | BinaryIO) -> Callable[..., Image.Image] | None:
    """What reads a file of one of the formats that Pillow does not know, `read_dicom` or `read_nifti`, else None."""
    if is_dicom(file):
        return read_dicom
    return read_nifti if is_nifti(file) else None


def _decode_base64(text: str) -> bytes | None:
    """What `data:image/png;base64,...` holds, or the same without its head; None for a path."""
    head = re.match(r"data:[^,]*,", text)
    may_be_path = head is None and len(text) <= _LONGEST_PATH
    if may_be_path and (not text.startswith(_BASE64_BEGINNINGS) or os.path.exists(text)):
        return None
    try:
        return base64.b64decode("".join(text[head.end() if head else 0 :].split()), validate=True)
    except ValueError:
        if may_be_path:
            return None
        shortly = f"{text[:40]!r}.. of {len(text)} characters"
        raise ValueError(f"{shortly} is no path, nor an image in base64: send a complete file, or a path") from None


def _pil_to_rgb(image: Image.Image, name: str | Path) -> Image.Image:
    # MPO is what Pillow calls a JPEG of several images.
    if image.format not in (None, "MPO", *IMAGE_FORMATS):
        raise ValueError(
            f"{name} is of the format {image.format}, not of {', '.join(IMAGE_FORMATS)}: save it as PNG elsewhere"
        )
    if 0 in image.size:
        raise ValueError(f"{name} is an empty image of {image.width} x {image.height} pixels: drop the row")
    try:
        check_undamaged(image)
        # Pillow inverts no TIFF of more than 8 bits, and turning an image upright loses its tags.
        tags = getattr(image, "tag_v2", {})
        inverted = tags.get(_PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
        image = ImageOps.exif_transpose(image)
        if not (image.mode in ("I", "F") or image.mode.startswith("I;16")):
            return _on_black(image.convert("RGBA")) if image.has_transparency_data else image.convert("RGB")
    except Exception as error:
        raise unreadable(name, error) from None
    values = _stretch(np.asarray(image), f"the image {name}")
    return Image.fromarray(255 - values if inverted else values).convert("RGB")


def unreadable(name: str | Path, error: Exception) -> ValueError:
    """The error that says why Pillow cannot open a file, and what to do."""
    unknown = isinstance(error, UnidentifiedImageError)
    reason = f"it is none of {', '.join(IMAGE_FORMATS)}, DICOM, NIfTI" if unknown else error
    return ValueError(f"cannot read the image {name} ({reason}): pass a complete image file, or drop the row")


def _channels_last(tensor: torch.Tensor) -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        raise ValueError(
            f"an image tensor must have the shape (1 | 3 | 4, H, W), not {tuple(tensor.shape)}; "
            "pass a stack of images as a list"
        )
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise TypeError("an image tensor must be dense, not sparse, quantized or on the device meta")
    tensor = tensor.detach().cpu().permute(1, 2, 0)
    # numpy knows no bfloat16.
    return (tensor.float() if tensor.dtype.itemsize < 4 and tensor.is_floating_point() else tensor).numpy(force=True)


def _array_to_rgb(array: np.ndarray) -> Image.Image:
    if np.ma.is_masked(array):
        raise ValueError(
            f"{np.ma.count_masked(array)} pixels of the image are masked: say what they show, e.g. image.filled(0)"
        )
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f"an image array must have the shape (H, W) or (H, W, 1 | 3 | 4), not {array.shape}; "
            "pass a stack of images as a list"
        )
    pixels = _to_uint8(array)
    if pixels.shape[-1] == 4:
        return _on_black(Image.fromarray(pixels))
    return Image.fromarray(pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels)


def _to_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "iuf":
        raise TypeError(f"an image array must hold integers or floats, not {array.dtype}")
    if array.shape[-1] < 4:
        return _stretch(array)
    # Opacity has a scale of its own: stretching an opaque image's constant alpha would make it transparent.
    full = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)
    alpha = np.clip(array[..., 3:] / full, 0, 1) * 255
    return np.concatenate([_stretch(array[..., :3]), np.rint(alpha).astype(np.uint8)], axis=-1)


def _stretch(values: np.ndarray, name: str = "the image") -> np.ndarray:
    # A 12-bit radiograph in a 16-bit file would come out almost black if the file's own range were used.
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity: replace them, e.g. numpy.nan_to_num(image)")
    return stretch(values, values.min(), values.max())


def _on_black(image: Image.Image) -> Image.Image:
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, image).convert("RGB")
