"""The processor that belongs to a pair of pretrained encoders."""

from transformers import AutoImageProcessor, AutoTokenizer

from ..processing_amif import AmifProcessor


def encoder_processor(vision_model: str, text_model: str, image_size: int | None = None) -> AmifProcessor:
    """Pictures become squares of the image size, nothing is cropped away.

    Args:
        vision_model: name or path of the image encoder, with its image processor.
        text_model: name or path of the text encoder, with its tokenizer.
        image_size: pixels on a side; None takes the image processor's.
    """
    image_processor = AutoImageProcessor.from_pretrained(vision_model)
    size = image_size or _crop_or_size(image_processor)
    image_processor.size = {"height": size, "width": size}
    image_processor.do_center_crop = False
    return AmifProcessor(image_processor, AutoTokenizer.from_pretrained(text_model))


def _crop_or_size(image_processor: object) -> int:
    crop, size = getattr(image_processor, "crop_size", None) or {}, image_processor.size
    return crop.get("height") or size.get("height") or size["shortest_edge"]
