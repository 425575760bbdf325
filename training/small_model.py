"""A small model from random initialisation, for data that needs no pretrained encoder and for trying things out."""

from typing import Any

import torch
from transformers import BertConfig, ViTConfig

from ..modeling_amif.configuration_amif import AmifConfig
from ..modeling_amif.dual_encoder_amif import AmifDualEncoder
from ..modeling_amif.encoder_loading_amif import check_image_size
from ..modeling_amif.pretraining_amif import AmifForPreTraining
from ..modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from ..processing_amif import AmifProcessor

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


def small_config(
    processor: AmifProcessor,
    image_size: int,
    hidden_size: int = 128,
    decoder_layers: int = 2,
    initializer_range: float = 0.08,
    **config: Any,
) -> AmifConfig:
    """A configuration of some 3.2 million parameters at its usual width; `config` changes fields of `AmifConfig`.

    `initializer_range` is that of all parts. BERT's 0.02 would let next to nothing of the image through at these
    widths, and what lets enough through grows as widths fall.
    """
    shape = {"decoder_layers": decoder_layers, "initializer_range": initializer_range}
    return _config_of(AmifConfig, processor, image_size, hidden_size, config, **shape)


def _config_of(
    config_class: type[AmifConfig],
    processor: AmifProcessor,
    image_size: int,
    hidden_size: int,
    changes: dict[str, Any],
    text_dropout: float = 0.0,
    decoder_layers: int = 2,
    initializer_range: float = 0.08,
) -> AmifConfig:
    check_image_size(image_size, PATCH_SIZE)
    width: dict[str, Any] = {"hidden_size": hidden_size, "intermediate_size": 4 * hidden_size}
    width |= {"num_attention_heads": 4, "initializer_range": initializer_range}
    bert = width | {
        "vocab_size": len(processor.tokenizer),
        "pad_token_id": processor.tokenizer.pad_token_id,
        "attention_probs_dropout_prob": 0.0,
    }
    fields: dict[str, Any] = {
        "vision_config": ViTConfig(image_size=image_size, patch_size=PATCH_SIZE, num_hidden_layers=4, **width),
        "text_config": BertConfig(num_hidden_layers=1, hidden_dropout_prob=text_dropout, **bert),
        "decoder_config": BertConfig(num_hidden_layers=decoder_layers, hidden_dropout_prob=0.0, **bert),
        "num_co_attention_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": initializer_range,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "decoder_start_token_id": processor.tokenizer.cls_token_id,
        "eos_token_id": processor.tokenizer.sep_token_id,
        "pad_token_id": processor.tokenizer.pad_token_id,
    }
    return config_class(**(fields | changes))


def small_model(
    processor: AmifProcessor, image_size: int, hidden_size: int = 128, **config: Any
) -> AmifForVisualQuestionAnswering:
    """A small model with new weights, ready to be trained from nothing."""
    model = AmifForVisualQuestionAnswering(small_config(processor, image_size, hidden_size, **config))
    _spread_positions(model.model.vision_model)
    return model


def small_pretraining_model(
    processor: AmifProcessor,
    image_size: int,
    hidden_size: int = 128,
    model_class: type[AmifDualEncoder] = AmifForPreTraining,
    **config: Any,
) -> AmifDualEncoder:
    """The same small encoders for pre-training, with dropout on texts: a positive pair of reports needs two readings.

    `model_class` says what is built on them; `config` changes fields of its configuration.
    """
    config_class = model_class.config_class
    sizes: dict[str, Any] = dict(OBJECTIVE_SIZES.get(config_class.model_type, {}))
    if config_class.model_type == "amif_mpma":
        sizes["mask_token_id"] = processor.tokenizer.mask_token_id
    model = model_class(_config_of(config_class, processor, image_size, hidden_size, sizes | config, text_dropout=0.1))
    _spread_positions(model.model.vision_model)
    return model


def _spread_positions(vision_model: torch.nn.Module) -> None:
    # As wide as what the patches bring: otherwise where a thing stands is learned long after what it is.
    torch.nn.init.normal_(vision_model.get_parameter("embeddings.position_embeddings"), std=0.5)
