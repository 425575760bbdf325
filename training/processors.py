"""The processor of a model: of pretrained encoders, or a small one learned from the data's own sentences."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tokenizers import BertWordPieceTokenizer
from transformers import (
    AutoImageProcessor,
    BertTokenizer,
    ViTImageProcessor,
)
from transformers.image_utils import PILImageResampling
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from ..modeling_amif.encoder_loading_amif import load_tokenizer
from ..modeling_amif.open_clip_amif import OpenClipFiles, is_open_clip
from ..processing_amif import AmifProcessor

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

VOCABULARY_SIZE = 2_000


class SquareImages(Protocol):
    """What of an image processor's settings says how large images become: some have more, all of ours these."""

    size: Mapping[str, int]
    do_center_crop: bool


def encoder_processor(vision_model: str, text_model: str, image_size: int | None = None) -> AmifProcessor:
    """Images become squares of the image size, nothing is cropped away.

    Args:
        vision_model: Name or path of the image encoder, with its image processor, or open_clip:NAME_OR_FOLDER.
        text_model: Name or path of the text encoder, with its tokenizer, or open_clip:NAME_OR_FOLDER.
        image_size: Pixels on a side; None takes the image processor's.

    Raises:
        ValueError: If one of them cannot be read.
    """
    try:
        image_processor: Any  # that of ViT lacks in its stub what it can be told
        if is_open_clip(vision_model):
            image_processor = open_clip_image_processor(vision_model)
        else:
            image_processor = AutoImageProcessor.from_pretrained(vision_model, trust_remote_code=False)
        tokenizer = load_tokenizer(text_model)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--vision_model {vision_model} or --text_model {text_model} is no encoder that can be read: give folders "
            f"with their processor and tokenizer, or names on the Hub ({error})"
        ) from error
    crop, size = getattr(image_processor, "crop_size", None) or {}, image_processor.size
    own_size = crop.get("height") or size.get("height") or size["shortest_edge"]
    set_image_size(image_processor, image_size or own_size)
    return AmifProcessor(image_processor, tokenizer)


def open_clip_image_processor(name: str) -> ViTImageProcessor:
    """Size, mean, deviation and interpolation as open_clip:NAME_OR_FOLDER says them; what it does not say is CLIP's."""
    files = OpenClipFiles.of(name)
    size, said = files.model["vision_cfg"].get("image_size", 224), files.preprocessing
    height, width = (size, size) if isinstance(size, int) else size
    bilinear = said.get("interpolation") == "bilinear"
    return ViTImageProcessor(
        size={"height": height, "width": width},
        image_mean=said.get("mean") or OPENAI_CLIP_MEAN,
        image_std=said.get("std") or OPENAI_CLIP_STD,
        resample=PILImageResampling.BILINEAR if bilinear else PILImageResampling.BICUBIC,
    )


def set_image_size(image_processor: SquareImages, image_size: int) -> None:
    """Make images squares of `image_size` pixels a side, of which nothing is cropped away."""
    image_processor.size = {"height": image_size, "width": image_size}
    image_processor.do_center_crop = False


def small_processor(sentences: Iterable[str], image_size: int) -> AmifProcessor:
    """A processor with a lower-casing WordPiece tokenizer trained on `sentences`; for dark grey images."""
    image_processor = ViTImageProcessor(
        size={"height": image_size, "width": image_size}, image_mean=[0.25] * 3, image_std=[0.25] * 3
    )
    return AmifProcessor(image_processor, _small_tokenizer(list(sentences)))


def _small_tokenizer(sentences: list[str]) -> BertTokenizer:
    trained = BertWordPieceTokenizer(lowercase=True)
    split = trained.pre_tokenizer.pre_tokenize_str
    # The trainer numbers letters inside words as it meets them, in an order that changes from run to run, and settles
    # equal counts by number: given beforehand, they make one vocabulary of the same sentences.
    inner_letters = {letter for text in sentences for word, _ in split(trained.normalize(text)) for letter in word[1:]}
    trained.train_from_iterator(
        sentences,
        vocab_size=VOCABULARY_SIZE,
        min_frequency=1,
        special_tokens=[*SPECIAL_TOKENS, *sorted(f"##{letter}" for letter in inner_letters)],
        show_progress=False,
    )
    return BertTokenizer(vocab=trained.get_vocab())
