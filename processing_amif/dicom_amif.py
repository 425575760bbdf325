"""DICOM files as 8-bit images. Only what describes the pixels is read: names and numbers of patients stay behind."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image
from transformers.utils import logging

from .stretching_amif import stretch

logger = logging.get_logger(__name__)

# Centre and width in Hounsfield units, as radiologists commonly set them.
WINDOW_PRESETS = {
    "abdomen": (40, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (60, 160),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
}
CT_WINDOW = "abdomen"

Window = int | str | tuple[float, float]

_SUFFIXES = (".dcm", ".dicom")
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
}
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_OTHER_CLASSES = tuple(_STORAGE + part for part in ("481.", "11.", "66", "67", "88.", "104.", "9."))
_RT_IMAGE = _STORAGE + "481.1"
_COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")
_GREYS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_CURE = "correct the tag, or save the image as PNG with another tool"


def is_dicom(path: str | Path) -> bool:
    """Whether a file is named as DICOM or begins as DICOM does; False where there is no file."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() in _SUFFIXES


def read_dicom(path: str | Path, frame: int | None = None, window: Window | None = None) -> Image.Image:
    """Read one frame of a DICOM file as a viewer shows it.

    Stored values are rescaled (modality LUT), windowed (VOI LUT) and, for MONOCHROME1, inverted, so that more is
    brighter. Without a window in the file a CT gets the window "abdomen", unsigned 8-bit values stay as they are and
    all else is stretched from its own [min, max]. Compressed pixels need a decoder that pydicom knows.

    Args:
        path: The file.
        frame: Which frame, from 0; None is the middle one.
        window: Grey images alone have windows. For CT "abdomen", "bone", "brain", "liver", "lung" or "mediastinum";
            (centre, width) in rescaled units, at least 1 wide: both open linearly. Or the number of one of the file's
            own windows, from 0, which open by its VOILUTFunction (LINEAR, LINEAR_EXACT, SIGMOID). None is the file's
            VOI LUT or first window.

    Returns:
        A PIL image of mode L or RGB.

    Raises:
        ImportError: If pydicom is not installed.
        ValueError: If the file is damaged, a tag cannot be used, it holds no image but a dose, a plan or the like, is
            compressed in a way that no installed decoder reads, or has no such frame or window.
    """
    header = _read_header(path)
    if header.get("BurnedInAnnotation") == "YES":
        logger.warning(f"{path} says that text is burned into its image, which may name the patient.")
    pixels, frame = _decode(header, frame, path)
    # Enhanced files keep rescaling and windows in groups, of all frames or of each.
    groups = [*header.get("SharedFunctionalGroupsSequence", [])]
    groups += [*header.get("PerFrameFunctionalGroupsSequence", [])][frame : frame + 1]
    for group in groups:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name, []):
                header.update(item)
    if window is not None and (pixels.ndim == 3 or header.PhotometricInterpretation == "PALETTE COLOR"):
        raise ValueError(f"{path} is a colour image, which has no windows: pass window=None")
    if pixels.ndim == 3:
        return Image.fromarray(_full_range(pixels, header.BitsStored))
    if header.PhotometricInterpretation == "PALETTE COLOR":
        apply_color_lut = _pydicom("pydicom.pixels").apply_color_lut
        colors = _applied(lambda: apply_color_lut(pixels, header), "RedPaletteColorLookupTableData", path)
        return Image.fromarray(_full_range(colors, 8 * colors.itemsize))
    grey = _grey(pixels, header, window, path)
    return Image.fromarray(255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey)


def _pydicom(module: str = "pydicom") -> ModuleType:
    # By name: of an import statement transformers would think that no checkpoint with this code loads without pydicom.
    try:
        return import_module(module)
    except ImportError:
        raise ImportError('reading DICOM needs pydicom: pip install "amif[dicom]", or "pydicom>=3"') from None


def _read_header(path: str | Path) -> Any:
    pydicom = _pydicom()
    name = None
    try:
        with pydicom.config.disable_value_validation():
            header = pydicom.dcmread(path, force=True, specific_tags=list(_TAGS))
            for name in _TAGS:  # pydicom reads a value when it is first asked for
                header.get(name)
    except Exception as error:  # pydicom raises nearly anything on damaged files, and may quote what it read
        reason = error if isinstance(error, OSError) else type(error).__name__
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
    return header


def _applied(change: Callable[[], np.ndarray], name: str, path: str | Path) -> np.ndarray:
    try:
        return change()
    except Exception as error:  # tables that are missing, cut off or of other types
        raise ValueError(f"cannot use the tag {name} of {path} ({type(error).__name__}): {_CURE}") from None


def _numbers(header: Any, name: str, path: str | Path) -> list[float]:
    """The numbers of a tag, none where it is missing or empty."""
    value: Any = header.get(name)
    empty = value is None or value == ""
    numbers = [] if empty else _applied(lambda: np.ravel(np.asarray(value)).astype(float), name, path).tolist()
    if not np.isfinite(numbers).all():
        raise ValueError(f"the tag {name} of {path} is no finite number: {_CURE}")
    return numbers


def _decode(header: Any, frame: int | None, path: str | Path) -> tuple[np.ndarray, int]:
    """Stored values of a frame, (H, W), or (H, W, 3) in RGB; and the number of the frame."""
    pixel_array = _pydicom("pydicom.pixels").pixel_array
    try:
        frames = int(header.get("NumberOfFrames") or 1)
        frame = frames // 2 if frame is None else frame
        pixels = pixel_array(header, index=frame) if 0 <= frame < frames else None
    except Exception as error:
        syntax = getattr(header.file_meta.get("TransferSyntaxUID"), "name", "no transfer syntax")
        raise ValueError(
            f"cannot decode the pixels of {path} ({syntax}: {' '.join(str(error).split())}). If the file is whole, its "
            "decoder is missing: pip install python-gdcm, or pylibjpeg with pylibjpeg-libjpeg and pylibjpeg-openjpeg"
        ) from None
    if pixels is None:
        raise ValueError(f"{path} has no frame {frame}: it has {frames}, counted from 0")
    return pixels, frame


def _grey(pixels: np.ndarray, header: Any, window: Window | None, path: str | Path) -> np.ndarray:
    """Stored values (H, W) as uint8, before any inversion."""
    processing = _pydicom("pydicom.pixels")
    slope, intercept = (_numbers(header, name, path) for name in ("RescaleSlope", "RescaleIntercept"))
    if not header.get("ModalityLUTSequence") and (len(slope) != len(intercept) or len(slope) > 1 or slope == [0]):
        raise ValueError(f"RescaleSlope and RescaleIntercept of {path} are not one number each, or 0: {_CURE}")
    if not slope and "RescaleSlope" in header:
        del header.RescaleSlope
    values = _applied(lambda: processing.apply_modality_lut(pixels, header), "ModalityLUTSequence", path)
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds pixels that are no finite numbers: convert it with another tool first")
    if window is None and header.get("VOILUTSequence"):
        indices = np.rint(values).astype(np.int64)
        shown = _applied(lambda: processing.apply_voi(indices, header), "VOILUTSequence", path)
        return _full_range(shown, header.VOILUTSequence[0].LUTDescriptor[2])
    chosen = _choose_window(header, window, path)
    if chosen is not None:
        # A data set of its own whose values have 8 bits, so that the window opens on 0 to 255.
        view = _pydicom().Dataset()
        view.PhotometricInterpretation, view.BitsStored, view.PixelRepresentation = "MONOCHROME2", 8, 0
        view.WindowCenter, view.WindowWidth, view.VOILUTFunction = chosen
        with np.errstate(over="ignore"):  # of the sigmoid, whose ends are 0 and 255 all the same
            return np.rint(_applied(lambda: processing.apply_windowing(values, view), "WindowWidth", path)).astype(
                np.uint8
            )
    bits = header.get("BitsStored")
    if header.get("PixelRepresentation") == 0 and bits and bits <= 8 and np.array_equal(values, pixels):
        return _full_range(pixels, header.BitsStored)
    padding = _numbers(header, "PixelPaddingValue", path)
    known = values if len(padding) != 1 else values[pixels != padding[0]]
    return stretch(values, known.min(), known.max()) if known.size else np.zeros(values.shape, np.uint8)


def _choose_window(header: Any, window: Window | None, path: str | Path) -> tuple[float, float, str] | None:
    """Centre, width and function; None where neither the caller nor the file has one."""
    modality = header.get("Modality")
    if isinstance(window, str):
        if window not in WINDOW_PRESETS or modality not in (None, "CT"):
            shown = modality if len(str(modality)) == 2 else "another modality"
            raise ValueError(f"no window {window!r} for {path} ({shown}): for CT there are {tuple(WINDOW_PRESETS)}")
        return *WINDOW_PRESETS[window], "LINEAR"
    if isinstance(window, tuple):
        if len(window) != 2 or not np.isfinite(window).all() or window[1] < 1:
            raise ValueError(f"the window {window} is not (centre, width) with a width of at least 1")
        return *window, "LINEAR"
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
