"""DICOM files as 8-bit images. Only what describes the pixels is read: names and numbers of patients stay behind."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image
from transformers.utils import logging

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
    *("Modality", "BurnedInAnnotation"),
)


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
        window: For CT "abdomen", "bone", "brain", "liver", "lung" or "mediastinum"; (centre, width) in rescaled units;
            the number of one of the file's own windows; None is the file's VOI LUT or first window.

    Returns:
        A PIL image of mode L or RGB.

    Raises:
        ImportError: If pydicom is not installed.
        ValueError: If the file is damaged, holds no image, is compressed in a way that no installed decoder reads, or
            has no such frame or window.
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
    if pixels.ndim == 3:
        return Image.fromarray(_full_range(pixels, header.BitsStored))
    if header.PhotometricInterpretation == "PALETTE COLOR":
        colors = _pydicom("pydicom.pixels").apply_color_lut(pixels, header)
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
    try:
        header = pydicom.dcmread(path, force=True, specific_tags=list(_TAGS))
    except Exception as error:  # pydicom raises nearly anything on damaged files
        raise ValueError(
            f"cannot read the DICOM file {path} ({error}): pass a complete file, or drop the row"
        ) from None
    if not any(name in header for name in _PIXELS):
        raise ValueError(f"{path} holds no DICOM image, but may be a report, a plan or damaged: pass an image file")
    return header


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
    values = processing.apply_modality_lut(pixels, header)
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds pixels that are no finite numbers: convert it with another tool first")
    if window is None and header.get("VOILUTSequence"):
        indices = np.rint(values).astype(np.int64)
        return _full_range(processing.apply_voi(indices, header), header.VOILUTSequence[0].LUTDescriptor[2])
    chosen = _choose_window(header, window, path)
    if chosen is not None:
        # A data set of its own whose values have 8 bits, so that the window opens on 0 to 255.
        view = _pydicom().Dataset()
        view.PhotometricInterpretation, view.BitsStored, view.PixelRepresentation = "MONOCHROME2", 8, 0
        view.WindowCenter, view.WindowWidth, view.VOILUTFunction = chosen
        return np.rint(processing.apply_windowing(values, view)).astype(np.uint8)
    if header.get("PixelRepresentation") == 0 and header.BitsStored <= 8 and np.array_equal(values, pixels):
        return _full_range(pixels, header.BitsStored)
    padding = header.get("PixelPaddingValue")
    known = values if padding is None else values[pixels != padding]
    return _linear(values, known.min(), known.max()) if known.size else np.zeros(values.shape, np.uint8)


def _choose_window(header: Any, window: Window | None, path: str | Path) -> tuple[float, float, str] | None:
    """Centre, width and function; None where neither the caller nor the file has one."""
    modality = header.get("Modality")
    if isinstance(window, str):
        if window not in WINDOW_PRESETS or modality not in (None, "CT"):
            raise ValueError(f"no window {window!r} for {path} ({modality}): for CT there are {tuple(WINDOW_PRESETS)}")
        return *WINDOW_PRESETS[window], "LINEAR"
    if isinstance(window, tuple):
        return *window, "LINEAR"
    centers, widths = (np.ravel(header.get(name) or []).astype(float) for name in ("WindowCenter", "WindowWidth"))
    own = [pair for pair in zip(centers.tolist(), widths.tolist(), strict=False) if pair[1] >= 1]
    if window is not None and not 0 <= window < len(own):
        raise ValueError(f"{path} has no window {window}: it has {len(own)}, counted from 0")
    if own:
        return *own[window or 0], header.get("VOILUTFunction") or "LINEAR"
    return (*WINDOW_PRESETS[CT_WINDOW], "LINEAR") if modality == "CT" else None


def _full_range(values: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned values of so many bits as uint8."""
    return _linear(values, 0, 2**bits - 1)


def _linear(values: np.ndarray, low: float, high: float) -> np.ndarray:
    span = float(high) - float(low) or 1.0
    return np.rint(np.clip((values.astype(np.float64) - low) * (255 / span), 0, 255)).astype(np.uint8)
