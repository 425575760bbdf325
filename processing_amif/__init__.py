from .answer_normalization_amif import normalize_answer
from .images_amif import to_rgb, unique_images
from .processing_amif import AmifProcessor

__all__ = ["AmifProcessor", "normalize_answer", "to_rgb", "unique_images"]
