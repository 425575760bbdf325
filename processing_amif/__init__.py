"""Images, questions and answers to tensors and back; names are imported when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answer_normalization_amif import normalize_answer
    from .dicom_amif import read_dicom
    from .images_amif import to_rgb, unique_images
    from .nifti_amif import read_nifti
    from .processing_amif import AmifProcessor
    from .report_normalization_amif import normalize_report

# Normalising answers needs no processor, whose base brings transformers' models.
_PLACES = {
    "AmifProcessor": "processing_amif",
    "normalize_answer": "answer_normalization_amif",
    "normalize_report": "report_normalization_amif",
    "read_dicom": "dicom_amif",
    "read_nifti": "nifti_amif",
    "to_rgb": "images_amif",
    "unique_images": "images_amif",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])


__all__ = [
    "AmifProcessor",
    "normalize_answer",
    "normalize_report",
    "read_dicom",
    "read_nifti",
    "to_rgb",
    "unique_images",
]
