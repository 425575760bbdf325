"""The processor that belongs to a pair of pretrained encoders."""

from transformers import AutoImageProcessor, AutoTokenizer, BaseImageProcessor

from ..processing_amif import AmifProcessor


def encoder_processor(vision_model: str, text_model: str, image_size: int | None = None) -> AmifProcessor:
    """Pictures become squares of the image size, nothing is cropped away.

    Args:
        vision_model: name or path of the image encoder, with its image processor.
        text_model: name or path of the text encoder, with its tokenizer.
        image_size: pixels on a side; None takes the image processor's.
    """
    image_processor = AutoImageProcessor.from_pretrained(vision_model)
    set_image_size(image_processor, image_size or _crop_or_size(image_processor))
    return AmifProcessor(image_processor, AutoTokenizer.from_pretrained(text_model))


def set_image_size(image_processor: BaseImageProcessor, image_size: int) -> None:
    """Make pictures squares of `image_size` pixels a side, of which nothing is cropped away."""
    image_processor.size = {"height": image_size, "width": image_size}
    image_processor.do_center_crop = False


def _crop_or_size(image_processor: object) -> int:
    crop, size = getattr(image_processor, "crop_size", None) or {}, image_processor.size
    return crop.get("height") or size.get("height") or size["shortest_edge"]
