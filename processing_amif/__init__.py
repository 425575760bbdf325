from .answer_normalization_amif import normalize_answer
from .images_amif import to_rgb, unique_images
from .processing_amif import AmifProcessor
from .report_normalization_amif import normalize_report

__all__ = ["AmifProcessor", "normalize_answer", "normalize_report", "to_rgb", "unique_images"]
