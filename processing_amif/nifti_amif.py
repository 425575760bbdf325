"""NIfTI volumes slice by slice, as radiologists look at them. Of a header only what describes the voxels is read."""

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from importlib import import_module
from math import ceil, prod
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from PIL import Image
from transformers.utils import logging

from .stretching_amif import stretch
from .windows_amif import WINDOW_PRESETS, Window, check_frame_and_window, open_window

logger = logging.get_logger(__name__)

NIFTI_SUFFIXES = (".nii", ".nii.gz")

# By the axis, of those that point to the patient's right, front and head, that the slices lie behind one another on.
PLANES = ("sagittal", "coronal", "axial")

# Voxels that are so much thicker along an axis than along the body's were scanned in slices across it.
_THICKER = 1.5
# A volume of more bytes, and a slice of more pixels, are a wrong header's.
_MOST_BYTES, _MOST_PIXELS = 1 << 31, 1 << 26
# Percentiles that become black and white, of so many voxels at most: a volume may have half a billion.
_PERCENTILES, _SAMPLE = (0.5, 99.5), 1 << 21
_GZIP = b"\x1f\x8b"
_CURE = "correct the header, or save the slices to ask about as PNG"

_Found = TypeVar("_Found")


class _NoHeaderError(Exception):
    """The file does not begin as NIfTI does."""


def is_nifti(file: str | Path | BinaryIO) -> bool:
    """Whether a file begins as NIfTI does, compressed or not, or its path is named so; False where there is none."""
    if not isinstance(file, str | Path):
        try:
            with _opened(file) as stream:
                return _header_class(stream) is not None
        except (OSError, EOFError, zlib.error):  # compressed, and damaged at its beginning
            return False
    path = Path(file)
    if not (path.is_file() and os.access(path, os.R_OK)):
        return False
    with path.open("rb") as opened:
        return is_nifti(opened) or path.name.lower().endswith(NIFTI_SUFFIXES)


def read_nifti(
    path: str | Path | BinaryIO,
    frame: int | None = None,
    window: Window | None = None,
    plane: str | None = None,
    name: str | None = None,
) -> Image.Image:
    """Read one slice of a NIfTI volume as radiologists look at it.

    Args:
        path: The file, or its opened content.
        frame: As for `NiftiVolume.draw`.
        window: As for `NiftiVolume.draw`.
        plane: As for `NiftiVolume`.
        name: What messages call the file; by default its path.

    Returns:
        A PIL image of mode L or RGB.

    Raises:
        ImportError: If nibabel is not installed.
        TypeError: If `frame` or `window` is of another type.
        ValueError: As `NiftiVolume` and its `draw`.
    """
    return NiftiVolume(path, plane, name).draw(frame, window)


class NiftiVolume:
    """A NIfTI file, `.nii` or `.nii.gz`, whose slices are drawn as radiologists look at them.

    An axial or coronal slice has the patient's left on the image's right, an axial one the front of the body above, a
    coronal or sagittal one the head above, a sagittal one the face on the left. Oblique volumes are drawn along those
    of their axes that are nearest to the body's.

    Args:
        file: The file, or its opened content.
        plane: "axial", "coronal" or "sagittal"; None is the one it was scanned in: across the axis along which voxels
            are thicker by half than along the body's, or which has but one; axial where there is none.
        name: What messages call the file; by default its path.

    Attributes:
        plane: The plane of the slices.
        frames: How many there are; they are counted from 0 towards the patient's head, front or right.

    Raises:
        ImportError: If nibabel is not installed.
        ValueError: If the header is damaged or says no orientation, it holds several volumes, or numbers that are not
            real, or there is no such plane.
    """

    def __init__(self, file: str | Path | BinaryIO, plane: str | None = None, name: str | None = None) -> None:
        if plane is not None and plane not in PLANES:
            raise ValueError(f"there is no plane {plane!r}: it is one of {', '.join(PLANES)}")
        self.name = name or (str(file) if isinstance(file, str | Path) else "the given NIfTI file")
        self._file = file
        self._header, self._scaling, affine = self._read(_read_header)
        self._shape = self._checked_shape()
        self._orientation, spacing = self._checked_axes(affine)
        order = self._orientation[:, 0].argsort()
        # Along the body's axes, as everything below.
        shape, self._spacing = [self._shape[axis] for axis in order], [float(spacing[axis]) for axis in order]
        self._axis = PLANES.index(plane) if plane else _scanned_axis(shape, self._spacing)
        self.plane, self.frames = PLANES[self._axis], shape[self._axis]

    def draw(self, frame: int | None = None, window: Window | None = None) -> Image.Image:
        """Draw one slice, with pixels as wide as high: where voxels are not, the longer side gets more of them.

        Without a window grey values open from the header's `cal_min` to its `cal_max` where it says these, else
        between the 0.5th and the 99.5th percentile of the whole volume. Colours stay as they are.

        Args:
            frame: Which slice, from 0; None is the middle one.
            window: (centre, width) in the units of the values, after the header's slope, from half a width below the
                centre to half a width above; or a preset for CT in Hounsfield units, as `read_dicom` has them; or 0,
                `cal_min` to `cal_max`.

        Returns:
            A PIL image of mode L or RGB.

        Raises:
            TypeError: If `frame` or `window` is of another type.
            ValueError: If the file is damaged, holds NaN or infinity, or has no such slice or window.
        """
        check_frame_and_window(frame, window)
        if frame is None and self.frames > 1:
            logger.warning_once("Of NIfTI volumes the middle slice is shown, and no other.")
        frame = self.frames // 2 if frame is None else int(frame)
        if not 0 <= frame < self.frames:
            raise ValueError(f"{self.name} has no {self.plane} slice {frame}: it has {self.frames}, counted from 0")
        # Towards the patient's right, front or head lies what images have on the left or above.
        voxels = np.moveaxis(self._voxels, self._axis, 0)[frame, ::-1, ::-1].T
        if voxels.dtype.names:
            if window is not None:
                raise ValueError(f"{self.name} is in colour, which has no windows: pass window=None")
            grey = np.stack([voxels[color] for color in voxels.dtype.names], axis=-1)
        else:
            grey = self._open(self._scaled(voxels), window)
        columns, rows = (size for axis, size in enumerate(self._spacing) if axis != self._axis)
        finest, image = min(columns, rows), Image.fromarray(grey)
        if not image.width * image.height * max(columns, rows) / finest <= _MOST_PIXELS:
            raise ValueError(f"voxels of {columns:.3g} by {rows:.3g} mm in {self.name} give no image: {_CURE}")
        size = round(image.width * columns / finest), round(image.height * rows / finest)
        return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)

    def _checked_shape(self) -> tuple[int, ...]:
        """Voxels along the file's three axes."""
        shape = tuple(int(size) for size in self._header.get_data_shape())
        if prod(shape[3:]) != 1:
            one = "save the one to ask about in a file of its own, for example nibabel.load(..).slicer[..., 0]"
            raise ValueError(f"{self.name} holds {prod(shape[3:])} volumes, not one: {one}")
        shape = (*shape, 1, 1)[:3]
        kind = self._header.get_data_dtype()
        if kind.kind not in "iuf" and kind.names != ("R", "G", "B"):
            raise ValueError(f"{self.name} holds voxels that are neither real numbers nor RGB: {_CURE}")
        if not 0 < prod(shape) * kind.itemsize <= _MOST_BYTES:
            sizes = " x ".join(map(str, shape))
            raise ValueError(f"{self.name} says that it holds {sizes} voxels, none or more than 2 GiB: {_CURE}")
        return shape

    def _checked_axes(self, affine: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """By the file's axes: which of the body's each is nearest to and 1 or -1, (3, 2); and mm a voxel, (3,)."""
        if affine is None:
            unknown = "says no orientation (sform_code and qform_code are 0), so that left and right would be a guess"
            raise ValueError(f"{self.name} {unknown}: {_CURE}")
        axes = affine[:3, :3].astype(np.float64)
        with np.errstate(all="ignore"):
            spacing = np.sqrt((axes**2).sum(axis=0))
            volume = abs(np.linalg.det(axes / spacing)) if np.isfinite(axes).all() and spacing.all() else 0.0
        # Axes of length 1 span 1 where they are at right angles.
        if not volume > 0.01:
            raise ValueError(f"{self.name} has an affine whose axes lead nowhere or along one another: {_CURE}")
        return _nibabel().io_orientation(affine), spacing

    @cached_property
    def _voxels(self) -> np.ndarray:
        """Stored values (right, front, head), read when the first slice is drawn."""
        stored = self._read(self._header.raw_data_from_fileobj).reshape(self._shape, order="F")
        return _nibabel().apply_orientation(stored, self._orientation)

    @cached_property
    def _range(self) -> tuple[float, float]:
        """What is black and what is white where neither the caller nor the header says it."""
        step = ceil((self._voxels.size / _SAMPLE) ** (1 / 3))
        low, high = np.percentile(self._scaled(self._voxels[::step, ::step, ::step]), _PERCENTILES)
        if low == high:  # of what is seldom, as in a mask
            low, high = sorted(self._scaled(np.array([self._voxels.min(), self._voxels.max()])))
        return float(low), float(high)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """Stored values in the unit of the header's slope, float64."""
        slope, intercept = self._scaling
        with np.errstate(over="ignore", invalid="ignore"):
            values = values.astype(np.float64) * slope + intercept
        if not np.isfinite(values).all():
            cure = "replace them, for example with numpy.nan_to_num, and save it again"
            raise ValueError(f"{self.name} holds voxels that are no finite numbers: {cure}")
        return values

    def _open(self, values: np.ndarray, window: Window | None) -> np.ndarray:
        if isinstance(window, tuple | list):
            # Exactly: values may be shares from 0 to 1, of which DICOM's half a unit would be half.
            return open_window(values, float(window[0]), float(window[1]), "LINEAR_EXACT")
        if isinstance(window, str):
            if window not in WINDOW_PRESETS:
                raise ValueError(f"no window {window!r} for {self.name}: for CT there are {tuple(WINDOW_PRESETS)}")
            return open_window(values, *WINDOW_PRESETS[window])
        low, high = (float(self._header[name]) for name in ("cal_min", "cal_max"))
        own = bool(np.isfinite([low, high]).all() and low < high)
        if window is not None and not (own and window == 0):
            raise ValueError(f"{self.name} has no window {window}: {'0 is its only one' if own else 'it has none'}")
        return stretch(values, *((low, high) if own else self._range))

    def _read(self, call: Callable[[BinaryIO], _Found]) -> _Found:
        """What `call` finds in the file."""
        try:
            with _opened(self._file) as stream:
                return call(stream)
        except ImportError:
            raise
        except Exception as error:  # nibabel, gzip and numpy raise nearly anything on damaged files
            reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            if isinstance(error, _NoHeaderError):
                reason = "it begins otherwise than a volume in one file does"
            if isinstance(error, EOFError) or "Expected" in str(error):
                reason = "its end is missing"
            cure = "pass a complete file, or drop the row"
            raise ValueError(f"cannot read {self.name} as NIfTI ({reason}): {cure}") from None


def _scanned_axis(shape: list[int], spacing: list[float]) -> int:
    if shape.count(1) == 1:
        return shape.index(1)
    thickest = spacing.index(max(spacing))
    return thickest if spacing[thickest] >= _THICKER * spacing[-1] else PLANES.index("axial")


def _nibabel() -> ModuleType:
    # By name: of an import statement transformers would think that no checkpoint with this code loads without nibabel.
    try:
        return import_module("nibabel")
    except ImportError:
        raise ImportError('reading NIfTI needs nibabel: pip install "amif[nifti]", or "nibabel>=5.3"') from None


@contextmanager
def _opened(file: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """A file's content from its beginning, uncompressed; what was opened before stays open, at its beginning."""
    with open(file, "rb") if isinstance(file, str | Path) else nullcontext(file) as raw:
        compressed = raw.read(2) == _GZIP
        raw.seek(0)
        try:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
        finally:
            raw.seek(0)


def _header_class(stream: BinaryIO) -> str | None:
    """What nibabel calls the header of a volume in one file; None where there is none."""
    begins = stream.read(348)
    stream.seek(0)
    if begins[344:] == b"n+1\0":
        return "Nifti1Header"
    return "Nifti2Header" if begins[4:8] == b"n+2\0" else None


def _read_header(stream: BinaryIO) -> tuple[Any, tuple[float, float], np.ndarray | None]:
    """The header, slope and intercept, and the affine where it says one."""
    name = _header_class(stream)
    if name is None:
        raise _NoHeaderError
    header = getattr(_nibabel(), name).from_fileobj(stream)
    placed = header["sform_code"] > 0 or header["qform_code"] > 0
    slope, intercept = header.get_slope_inter()
    return header, (slope or 1.0, intercept or 0.0), header.get_best_affine() if placed else None
