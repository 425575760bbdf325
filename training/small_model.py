"""A small model from random initialisation, for data that needs no pretrained encoder and for trying things out."""

from collections.abc import Iterable

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertTokenizer, ViTConfig, ViTImageProcessor

from ..modeling_amif.configuration_amif import AmifConfig
from ..modeling_amif.encoders_amif import check_image_size
from ..modeling_amif.modeling_amif import AmifForVisualQuestionAnswering
from ..modeling_amif.pretraining_amif import AmifForPreTraining
from ..processing_amif import AmifProcessor

VOCABULARY_SIZE = 2_000
PATCH_SIZE = 16


def small_processor(sentences: Iterable[str], image_size: int) -> AmifProcessor:
    """A processor with a lower-casing WordPiece tokenizer trained on `sentences`; for dark grey pictures."""
    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(sentences, vocab_size=VOCABULARY_SIZE, min_frequency=1, show_progress=False)
    image_processor = ViTImageProcessor(
        size={"height": image_size, "width": image_size}, image_mean=[0.25] * 3, image_std=[0.25] * 3
    )
    return AmifProcessor(image_processor, BertTokenizer(vocab=trained.get_vocab()))


def small_config(processor: AmifProcessor, image_size: int, hidden_size: int = 128, **config: object) -> AmifConfig:
    """A configuration of some 3.2 million parameters at its usual width; `config` changes fields of `AmifConfig`."""
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
    defaults = {
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
    return AmifConfig(**(defaults | config))


def small_model(
    processor: AmifProcessor, image_size: int, hidden_size: int = 128, **config: object
) -> AmifForVisualQuestionAnswering:
    """A small model with new weights, ready to be trained from nothing."""
    model = AmifForVisualQuestionAnswering(small_config(processor, image_size, hidden_size, **config))
    # As wide as what the patches bring: otherwise where a thing stands is learned long after what it is.
    torch.nn.init.normal_(model.model.vision_model.embeddings.position_embeddings, std=0.5)
    return model


def small_pretraining_model(
    processor: AmifProcessor, image_size: int, hidden_size: int = 128, **config: object
) -> AmifForPreTraining:
    """The same small model for pre-training, with dropout on texts: a positive pair of reports needs two readings."""
    small = small_config(processor, image_size, hidden_size, **config)
    small.text_config.hidden_dropout_prob = 0.1
    model = AmifForPreTraining(small)
    torch.nn.init.normal_(model.model.vision_model.embeddings.position_embeddings, std=0.5)
    return model
