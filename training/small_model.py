"""A small model from random initialisation, for data that needs no pretrained encoder and for trying things out."""

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertTokenizer, ViTConfig, ViTImageProcessor

from ..modeling_amif.configuration_amif import AmifConfig
from ..modeling_amif.embedding_amif import AmifEmbeddingModel
from ..modeling_amif.encoders_amif import check_image_size
from ..modeling_amif.modeling_amif import AmifForVisualQuestionAnswering
from ..modeling_amif.pretraining_amif import AmifForPreTraining
from ..processing_amif import AmifProcessor

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY_SIZE = 2_000
PATCH_SIZE = 16
# What only the configurations of further objectives have, by model type.
OBJECTIVE_SIZES = {
    "amif_aga": {"alignment_size": 128},
    "amif_mpma": {
        "alignment_size": 128,
        "memory_size": 256,
        "image_decoder_layers": 2,
        "image_decoder_size": 128,
        "image_decoder_heads": 4,
    },
}


def small_processor(sentences: Iterable[str], image_size: int) -> AmifProcessor:
    """A processor with a lower-casing WordPiece tokenizer trained on `sentences`; for dark grey pictures."""
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


def small_config(processor: AmifProcessor, image_size: int, hidden_size: int = 128, **config: object) -> AmifConfig:
    """A configuration of some 3.2 million parameters at its usual width; `config` changes fields of `AmifConfig`."""
    return AmifConfig(**(_small_fields(processor, image_size, hidden_size) | config))


def _small_fields(processor: AmifProcessor, image_size: int, hidden_size: int) -> dict[str, Any]:
    check_image_size(image_size, PATCH_SIZE)
    # Wider initial weights than BERT's 0.02, which at this width would let next to nothing of the image through.
    width = {"hidden_size": hidden_size, "intermediate_size": 4 * hidden_size}
    width |= {"num_attention_heads": 4, "initializer_range": 0.08}
    bert = width | {
        "vocab_size": len(processor.tokenizer),
        "pad_token_id": processor.tokenizer.pad_token_id,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return {
        "vision_config": ViTConfig(image_size=image_size, patch_size=PATCH_SIZE, num_hidden_layers=4, **width),
        "text_config": BertConfig(num_hidden_layers=1, **bert),
        "decoder_config": BertConfig(num_hidden_layers=2, **bert),
        "num_co_attention_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.08,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "decoder_start_token_id": processor.tokenizer.cls_token_id,
        "eos_token_id": processor.tokenizer.sep_token_id,
        "pad_token_id": processor.tokenizer.pad_token_id,
    }


def small_model(
    processor: AmifProcessor, image_size: int, hidden_size: int = 128, **config: object
) -> AmifForVisualQuestionAnswering:
    """A small model with new weights, ready to be trained from nothing."""
    model = AmifForVisualQuestionAnswering(small_config(processor, image_size, hidden_size, **config))
    # As wide as what the patches bring: otherwise where a thing stands is learned long after what it is.
    torch.nn.init.normal_(model.model.vision_model.embeddings.position_embeddings, std=0.5)
    return model


def small_pretraining_model(
    processor: AmifProcessor,
    image_size: int,
    hidden_size: int = 128,
    model_class: type[AmifEmbeddingModel] = AmifForPreTraining,
    **config: object,
) -> AmifEmbeddingModel:
    """The same small encoders for pre-training, with dropout on texts: a positive pair of reports needs two readings.

    `model_class` says what is built on them; `config` changes fields of its configuration.
    """
    fields = _small_fields(processor, image_size, hidden_size)
    fields["text_config"].hidden_dropout_prob = 0.1
    config_class = model_class.config_class
    fields |= OBJECTIVE_SIZES.get(config_class.model_type, {})
    if config_class.model_type == "amif_mpma":
        fields["mask_token_id"] = processor.tokenizer.mask_token_id
    model = model_class(config_class(**(fields | config)))
    torch.nn.init.normal_(model.model.vision_model.embeddings.position_embeddings, std=0.5)
    return model
