"""DICOM files as 8-bit images. Only what describes the pixels is read: names and numbers of patients stay behind."""

import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import Image
from transformers.utils import logging

from .stretching_amif import stretch
from .windows_amif import WINDOW_PRESETS, Window, check_frame_and_window, open_window

logger = logging.get_logger(__name__)

CT_WINDOW = "abdomen"

_Found = TypeVar("_Found")

DICOM_SUFFIXES = (".dcm", ".dicom")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Nothing else is read, so that no error, log or image can hold a patient's name.
_TAGS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", *_PIXELS),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction"),
    *("WindowCenter", "WindowWidth", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(f"{color}PaletteColorLookupTable{part}" for color in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
    *("SOPClassUID", "Modality", "BurnedInAnnotation"),
)
# What enhanced files keep for each frame.
_GREY_TAGS = (
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
)
_PALETTE = ("Red", "Green", "Blue")
# What pydicom says of pixels and may be repeated: nothing of a file's own text.
_REASONS = ("less than expected", "missing dependencies", "does not support decoding", "unable to decode")
# Those that messages name; a tag may hold anything.
_MODALITIES = ("CR", "CT", "DX", "MG", "MR", "NM", "OT", "PT", "RF", "US", "XA")
# Objects that hold numbers on images, and pixels at most by the way.
_OTHER_MODALITIES = {
    "RTDOSE": "RT Dose",
    "RTPLAN": "RT Plan",
    "RTSTRUCT": "RT Structure Set",
    "RTRECORD": "RT Treatment Record",
    "SEG": "Segmentation",
    "PR": "Presentation State",
    "KO": "Key Object Selection",
    "SR": "Structured Report",
    "REG": "Registration",
    "DOC": "Encapsulated Document",
    "ECG": "Waveform",
}
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_OTHER_CLASSES = tuple(_STORAGE + part for part in ("481.", "11.", "66", "67", "88.", "104.", "9."))
_RT_IMAGE = _STORAGE + "481.1"
_COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")
_GREYS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_CURE = "correct the tag, or save the image as PNG with another tool"


class _Quiet:
    """While any thread reads, pydicom neither validates nor warns, for it would quote what it reads.

    The settings are the process's: one that each thread restored by itself would be that of another thread.
    """

    def __init__(self) -> None:
        self.lock, self.readers, self.changed = Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            if not self.readers:
                config = _pydicom().config
                self.changed.enter_context(config.disable_value_validation())
                self.changed.enter_context(warnings.catch_warnings(action="ignore"))
                self.changed.callback(setattr, config.logger, "disabled", config.logger.disabled)
                config.logger.disabled = True
            self.readers += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.readers -= 1
            if not self.readers:
                self.changed.close()


_QUIET = _Quiet()


def is_dicom(file: str | Path | BinaryIO) -> bool:
    """Whether a file begins as DICOM does, or its path is named so; False where there is none that can be opened."""
    if not isinstance(file, str | Path):
        begins = file.read(132)[128:] == b"DICM"
        file.seek(0)
        return begins
    path = Path(file)
    if not (path.is_file() and os.access(path, os.R_OK)):
        return False
    with path.open("rb") as opened:
        return is_dicom(opened) or path.suffix.lower() in DICOM_SUFFIXES


def read_dicom(
    path: str | Path | BinaryIO, frame: int | None = None, window: Window | None = None, name: str | None = None
) -> Image.Image:
    """Read one frame of a DICOM file as a viewer shows it.

    Stored values are rescaled (modality LUT), windowed (VOI LUT) and, for MONOCHROME1, inverted, so that more is
    brighter. Without a window in the file a CT gets the window "abdomen", unsigned 8-bit values stay as they are and
    all else is stretched from its own [min, max]. Compressed pixels need a decoder that pydicom knows.

    Args:
        path: The file, or its opened content.
        frame: Which frame, from 0; None is the middle one.
        window: Grey images alone have windows. For CT "abdomen", "bone", "brain", "liver", "lung" or "mediastinum";
            (centre, width) in rescaled units, at least 1 wide: both open linearly. Or the number of one of the file's
            own windows, from 0, which open by its VOILUTFunction (LINEAR, LINEAR_EXACT, SIGMOID). None is the file's
            VOI LUT or first window.
        name: What messages call the file; by default its path.

    Returns:
        A PIL image of mode L or RGB.

    Raises:
        ImportError: If pydicom is not installed.
        TypeError: If `frame` or `window` is of another type.
        ValueError: If the file is damaged, a tag cannot be used, it holds no image but a dose, a plan or the like, is
            compressed in a way that no installed decoder reads, or has no such frame or window.
    """
    check_frame_and_window(frame, window, least_width=1)
    name = name or (str(path) if isinstance(path, str | Path) else "the given DICOM file")
    with _QUIET:
        header, frame = _read_header(path, frame, name)
        return _show_frame(header, frame, window, name)


def count_frames(path: str | Path) -> int:
    """How many frames a DICOM file has; 1 also where that cannot be read, of which `read_dicom` says what is wrong.

    Raises:
        ImportError: If pydicom is not installed.
    """
    with _QUIET:
        try:
            tags = ["NumberOfFrames"]
            header = _pydicom().dcmread(path, force=True, specific_tags=tags, stop_before_pixels=True)
            return max(int(header.get("NumberOfFrames") or 1), 1)
        except ImportError:
            raise
        except Exception:  # as in _read_header
            return 1


def _show_frame(header: Any, frame: int, window: Window | None, path: str) -> Image.Image:
    if header.get("BurnedInAnnotation") == "YES":
        logger.warning_once(f"{path} says that text is burned into its image, which may name the patient.")
    pixels = _decode(header, frame, path)
    in_palette = header.PhotometricInterpretation == "PALETTE COLOR"
    if window is not None and (pixels.ndim == 3 or in_palette):
        raise ValueError(f"{path} is a colour image, which has no windows: pass window=None")
    if pixels.ndim == 3:
        return Image.fromarray(_full_range(pixels, header.BitsStored))
    if in_palette:
        colors = _applied(lambda: _palette_colors(pixels, header), "RedPaletteColorLookupTableData", path)
        return Image.fromarray(colors)
    grey = _grey(pixels, header, window, path)
    return Image.fromarray(255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey)


def _pydicom(module: str = "pydicom") -> ModuleType:
    # By name: of an import statement transformers would think that no checkpoint with this code loads without pydicom.
    try:
        return import_module(module)
    except ImportError:
        raise ImportError('reading DICOM needs pydicom: pip install "amif[dicom]", or "pydicom>=3"') from None


def _read_header(file: str | Path | BinaryIO, frame: int | None, path: str) -> tuple[Any, int]:
    """What describes the pixels, with the values that are of this frame alone; and the number of the frame."""
    pydicom = _pydicom()
    name = None
    try:
        header = pydicom.dcmread(file, force=True, specific_tags=list(_TAGS))
        for name in _TAGS:  # pydicom reads a value when it is first asked for
            header.get(name)
        name = "NumberOfFrames"
        frames = int(header.get(name) or 1)
        if frame is None and frames > 1:
            logger.warning_once("Of DICOM files with several frames the middle one is shown, and no other.")
        frame = frames // 2 if frame is None else int(frame)
        name = "PerFrameFunctionalGroupsSequence"
        _take_functional_groups(header, frame)
    except Exception as error:  # pydicom raises nearly anything on damaged files, and may quote what it read
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        where = f"the tag {name}: {_CURE}" if name else "pass a complete file, or drop the row"
        raise ValueError(f"cannot read the DICOM file {path} ({reason}), {where}") from None
    kind = _OTHER_MODALITIES.get(str(header.get("Modality")))
    uid = str(header.get("SOPClassUID"))
    if uid.startswith(_OTHER_CLASSES) and uid != _RT_IMAGE:
        kind = pydicom.uid.UID_dictionary.get(uid, (kind or "of an unknown kind",))[0]
    if kind:
        raise ValueError(f"{path} holds no DICOM image, but an object of the kind {kind}: pass the image it belongs to")
    if not any(name in header for name in _PIXELS):
        raise ValueError(f"{path} holds no DICOM image, but may be a report, a plan or damaged: pass an image file")
    if header.get("PhotometricInterpretation") not in (*_COLORS, *_GREYS):
        raise ValueError(f"{path} has no PhotometricInterpretation that is known: {_CURE}")
    if not 0 <= frame < frames:
        raise ValueError(f"{path} has no frame {frame}: it has {frames}, counted from 0")
    return header, frame


def _take_functional_groups(header: Any, frame: int) -> None:
    """Take over what enhanced files keep of rescaling and windows in groups, of all frames or of each."""
    groups = [*(header.get("SharedFunctionalGroupsSequence") or [])]
    groups += [*(header.get("PerFrameFunctionalGroupsSequence") or [])][frame : frame + 1] if frame >= 0 else []
    for group in groups:
        for sequence in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(sequence) or []:
                for name in _GREY_TAGS:
                    if item.get(name) is not None:
                        header[name] = item[name]


def _applied(change: Callable[[], _Found], name: str, path: str) -> _Found:
    try:
        return change()
    except Exception as error:  # tables that are missing, cut off or of other types
        raise ValueError(f"cannot use the tag {name} of {path} ({type(error).__name__}): {_CURE}") from None


def _numbers(header: Any, name: str, path: str) -> list[float]:
    """The numbers of a tag, none where it is missing or empty."""
    value: Any = header.get(name)
    empty = value is None or value == ""
    numbers = [] if empty else _applied(lambda: np.ravel(np.asarray(value)).astype(float), name, path).tolist()
    if not np.isfinite(numbers).all():
        raise ValueError(f"the tag {name} of {path} is no finite number: {_CURE}")
    return numbers


def _decode(header: Any, frame: int, path: str) -> np.ndarray:
    """Stored values of a frame, (H, W), or (H, W, 3) in RGB."""
    pixel_array = _pydicom("pydicom.pixels").pixel_array
    try:
        return pixel_array(header, index=frame)
    except Exception as error:  # whose words may quote the file
        reason = next((known for known in _REASONS if known in str(error)), type(error).__name__)
        syntax = str(header.file_meta.get("TransferSyntaxUID"))
        syntax = _pydicom("pydicom.uid").UID_dictionary.get(syntax, ("an unknown transfer syntax",))[0]
        raise ValueError(
            f"cannot decode the pixels of {path} ({syntax}: {reason}). If the file is whole, its "
            "decoder is missing: pip install python-gdcm, or pylibjpeg with pylibjpeg-libjpeg and pylibjpeg-openjpeg"
        ) from None


def _table(header: Any, item: Any, descriptor: str, data: str) -> tuple[np.ndarray, int, int]:
    """A look-up table: its entries, the value that the first is for, and the bits of an entry."""
    length, first, bits = (int(number) for number in item[descriptor].value)
    length = length or 2**16
    content = item[data].value
    if isinstance(content, bytes):
        words = np.frombuffer(content, "<u2" if header.original_encoding[1] else ">u2").astype("<u2")
        # Entries of one byte are packed, and padded to whole words.
        content = words if len(words) >= length else words.view(np.uint8)
    table = np.ravel(content).astype(np.int64)[:length]
    if len(table) < length or table.min() < 0:
        raise ValueError(f"a table of {len(table)} entries, not {length}")
    # Tables that say 8 bits may hold 16, and the other way round.
    return table, first, bits if 0 < bits <= 16 and table.max() < 2**bits else 16


def _sequence_table(header: Any, name: str, path: str) -> tuple[np.ndarray, int, int]:
    """The `_table` of a sequence's first item."""
    return _applied(lambda: _table(header, header[name].value[0], "LUTDescriptor", "LUTData"), name, path)


def _looked_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    # Not by pydicom, whose index has as few bits as an entry: a value beyond them would begin again at the first entry.
    return table[np.clip(values.astype(np.int64) - first, 0, len(table) - 1)]


def _palette_colors(pixels: np.ndarray, header: Any) -> np.ndarray:
    """Stored values (H, W) as the uint8 colours (H, W, 3) of the file's palette."""
    descriptor = "RedPaletteColorLookupTableDescriptor"
    if "RedPaletteColorLookupTableData" not in header:
        length, first, bits = header[descriptor].value
        if bits <= 8 and not 0 < length <= 256:
            raise ValueError("more entries than pydicom's index reaches")
        within = np.clip(pixels.astype(np.int64), first, first + (length or 2**16) - 1)
        colors = _pydicom("pydicom.pixels").apply_color_lut(within, header)
        return _full_range(colors, 8 * colors.itemsize)
    tables = [_table(header, header, descriptor, f"{color}PaletteColorLookupTableData") for color in _PALETTE]
    colors = np.stack([_looked_up(pixels, table, first) for table, first, _ in tables], axis=-1)
    return _full_range(colors, max(bits for _, _, bits in tables))


def _rescaled(pixels: np.ndarray, header: Any, path: str) -> np.ndarray:
    """Stored values after the modality's table or slope."""
    if header.get("ModalityLUTSequence"):
        if pixels.dtype.kind == "f":
            raise ValueError(f"ModalityLUTSequence of {path} is for whole numbers, and its pixels are none: {_CURE}")
        table, first, _ = _sequence_table(header, "ModalityLUTSequence", path)
        return _looked_up(pixels, table, first)
    slope, intercept = (_numbers(header, name, path) for name in ("RescaleSlope", "RescaleIntercept"))
    if len(slope) != len(intercept) or len(slope) > 1 or slope == [0]:
        raise ValueError(f"RescaleSlope and RescaleIntercept of {path} are not one number each, or 0: {_CURE}")
    with np.errstate(over="ignore", invalid="ignore"):
        values = pixels.astype(np.float64) * slope[0] + intercept[0] if slope else pixels
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds pixels that are no finite numbers: convert it with another tool first")
    return values


def _grey(pixels: np.ndarray, header: Any, window: Window | None, path: str) -> np.ndarray:
    """Stored values (H, W) as uint8, before any inversion."""
    values = _rescaled(pixels, header, path)
    if window is None and header.get("VOILUTSequence"):
        table, first, bits = _sequence_table(header, "VOILUTSequence", path)
        # Beyond any table, so that numbers of any size become whole ones.
        return _full_range(_looked_up(np.rint(np.clip(values, -(2.0**32), 2.0**32)), table, first), bits)
    chosen = _choose_window(header, window, path)
    if chosen is not None:
        return open_window(values, *chosen)
    bits = header.get("BitsStored")
    if header.get("PixelRepresentation") == 0 and bits and bits <= 8 and np.array_equal(values, pixels):
        return _full_range(pixels, header.BitsStored)
    padding = _numbers(header, "PixelPaddingValue", path)
    known = values if len(padding) != 1 else values[pixels != padding[0]]
    return stretch(values, known.min(), known.max()) if known.size else np.zeros(values.shape, np.uint8)


def _choose_window(header: Any, window: Window | None, path: str) -> tuple[float, float, str] | None:
    """Centre, width and function; None where neither the caller nor the file has one."""
    modality = header.get("Modality")
    if isinstance(window, str):
        if window not in WINDOW_PRESETS or modality not in (None, "CT"):
            shown = modality if modality in _MODALITIES else "another modality"
            raise ValueError(f"no window {window!r} for {path} ({shown}): for CT there are {tuple(WINDOW_PRESETS)}")
        return *WINDOW_PRESETS[window], "LINEAR"
    if isinstance(window, tuple | list):
        return float(window[0]), float(window[1]), "LINEAR"
    centers, widths = (_numbers(header, name, path) for name in ("WindowCenter", "WindowWidth"))
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    if len(centers) != len(widths) or (centers and function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID")):
        name = "A function is unknown" if len(centers) == len(widths) else "Its windows do not pair up"
        raise ValueError(
            f"{name} in WindowCenter, WindowWidth or VOILUTFunction of {path}: pass window=(centre, width), or {_CURE}"
        )
    usable = [width >= 1 if function == "LINEAR" else width > 0 for width in widths]
    if window is not None and not (0 <= window < len(widths) and usable[window]):
        raise ValueError(f"{path} has no window {window}: it has {len(widths)}, counted from 0, of some width")
    chosen = window if window is not None else next((place for place, use in enumerate(usable) if use), None)
    if chosen is not None:
        return centers[chosen], widths[chosen], function
    return (*WINDOW_PRESETS[CT_WINDOW], "LINEAR") if modality == "CT" else None


def _full_range(values: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned values of so many bits as uint8."""
    return stretch(values, 0, 2**bits - 1)
