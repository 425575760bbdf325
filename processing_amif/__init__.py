from .answer_normalization_amif import normalize_answer
from .dicom_amif import read_dicom
from .images_amif import to_rgb, unique_images
from .nifti_amif import read_nifti
from .processing_amif import AmifProcessor
from .report_normalization_amif import normalize_report

__all__ = [
    "AmifProcessor",
    "normalize_answer",
    "normalize_report",
    "read_dicom",
    "read_nifti",
    "to_rgb",
    "unique_images",
]
