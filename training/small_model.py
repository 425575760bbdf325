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
    model_class: type[AmifDualEncoder] = AmifForPreTraining,
    **config: object,
) -> AmifDualEncoder:
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
