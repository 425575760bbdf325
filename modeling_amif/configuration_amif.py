"""Configuration of AMiF: sub-configurations of encoders and decoder, and what joins them."""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import AutoConfig, BertConfig, CLIPVisionConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils.hub import TRANSFORMERS_DYNAMIC_MODULE_NAME

# Encoders whose blocks know a patch's place from its embedding alone: patches can be left out before the blocks.
VISIBLE_PATCH_ENCODERS = ("vit", "clip_vision_model", "dinov2", "siglip_vision_model")

CLINICAL_BERT_VOCABULARY = 28_996

KNOWLEDGE_FUSIONS = ("gated", "add", "none")

POOLING_MODES = ("cls", "mean")

# Images that one question may be about; the processor, which models do not know, says the same.
MAX_VIEWS = 4


class AmifConfig(PreTrainedConfig):
    """Configuration of every AMiF model.

    `AmifConfig()` is the size that the paper's text gives (arXiv 2510.08791, supplement 6): CLIP ViT-B/16 at 288 pixels
    with 12 blocks, Bio_ClinicalBERT's shape for text encoder and decoder, and six co-attention layers. The authors'
    code drops the last vision block; `vision_config=CLIPVisionConfig(..., num_hidden_layers=11)` gives that model.

    Args:
        vision_config: Configuration, or its dictionary, of any image encoder of transformers that returns token states.
        text_config: The same for a BERT-like text encoder.
        decoder_config: The same for a BERT-like causal decoder. It always gets `is_decoder` and `add_cross_attention`.
            Defaults to the text encoder's configuration.
        hidden_size: Width of projections, co-attention and knowledge fusion. Defaults to the text encoder's width.
        num_co_attention_layers: Layers L of each of the two co-attention stacks.
        num_attention_heads: Heads in co-attention and knowledge fusion; divides `hidden_size`. Defaults to `heads_for`
            that width: 12 at the paper's size.
        intermediate_size: Width inside their feed-forward parts. Defaults to four times `hidden_size`.
        hidden_act: Activation of the co-attention's feed-forward parts.
        hidden_dropout_prob: Dropout on the outputs of attention and feed-forward parts.
        attention_probs_dropout_prob: Dropout on the co-attention's attention weights.
        layer_norm_eps: Epsilon of the layer normalisations.
        initializer_range: Standard deviation of new weights.
        vision_feature_layer: Which of the image encoder's hidden states co-attention reads, as LLaVA's option of this
            name: 0 is what the first block reads, -1 or the number of blocks `last_hidden_state`, which is among them.
            Each state is normalised to mean 0 and variance 1; they stand side by side, in the order given. None, the
            paper's, reads `last_hidden_state` as it is.
        image_pooling: Side of the square of patch tokens that is averaged into one before co-attention; 1 keeps all.
        pooling_mode: What pre-training takes for a whole image or text: "cls", its class token (the paper's), or
            "mean", the mean of its patches or words, in alignment each as its unit vector. An image encoder without a
            class token always gives a mean.
        view_embedding: Tell the images of one question apart by a learned vector each, which is ours and not the
            paper's: what is trained on questions about several images has one, zero at the start.
        knowledge_fusion: "gated" (equations 14-16), "add" (equation 14 without the gate) or "none".
        knowledge_zero_init: Start without knowledge, which is ours and not the paper's: in a new fusion the outputs of
            cross-attention and of the feed-forward part behind it are zero, so that it changes what it has learned to.
        knowledge_size: Number of tokens of the knowledge vocabulary, set by `set_knowledge`; 0 skips the fusion.
        decoder_start_token_id: Token that opens every answer ([CLS]).
        eos_token_id: Token that closes every answer ([SEP]).
        pad_token_id: Token that fills answers up; never counted in a loss or score.

    Raises:
        ValueError: If `knowledge_fusion` or `pooling_mode` is unknown, the image encoder has no token states or not
            those of `vision_feature_layer`, its last state is not among these, or the heads do not divide the width.
    """

    model_type = "amif"
    sub_configs: ClassVar[dict[str, type[AutoConfig]]] = {
        "vision_config": AutoConfig,
        "text_config": AutoConfig,
        "decoder_config": AutoConfig,
    }

    def __init__(
        self,
        vision_config: PreTrainedConfig | dict[str, Any] | None = None,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        decoder_config: PreTrainedConfig | dict[str, Any] | None = None,
        hidden_size: int | None = None,
        num_co_attention_layers: int = 6,
        num_attention_heads: int | None = None,
        intermediate_size: int | None = None,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        layer_norm_eps: float = 1e-12,
        initializer_range: float = 0.02,
        vision_feature_layer: int | list[int] | None = None,
        image_pooling: int = 1,
        pooling_mode: str = "cls",
        view_embedding: bool = False,
        knowledge_fusion: str = "gated",
        knowledge_zero_init: bool = False,
        knowledge_size: int = 0,
        decoder_start_token_id: int = 101,
        eos_token_id: int = 102,
        pad_token_id: int = 0,
        **kwargs: Any,
    ) -> None:
        self.vision_config = _sub_config(vision_config, CLIPVisionConfig(image_size=288, patch_size=16))
        self.text_config = _sub_config(text_config, BertConfig(vocab_size=CLINICAL_BERT_VOCABULARY))
        self.decoder_config = _decoder_config(decoder_config, self.text_config)
        self.hidden_size = hidden_size or self.text_config.hidden_size
        self.num_co_attention_layers = num_co_attention_layers
        self.num_attention_heads = heads_for(self.hidden_size) if num_attention_heads is None else num_attention_heads
        self.intermediate_size = intermediate_size or 4 * self.hidden_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.vision_feature_layer = _as_layers(vision_feature_layer, self.vision_config)
        self.image_pooling = image_pooling
        self.pooling_mode = pooling_mode
        self.view_embedding = view_embedding
        self.knowledge_fusion = knowledge_fusion
        self.knowledge_zero_init = knowledge_zero_init
        self.knowledge_size = knowledge_size
        self.decoder_start_token_id = decoder_start_token_id
        self.eos_token_id = eos_token_id
        self.pad_token_id = pad_token_id
        self._check()
        if not __name__.startswith(TRANSFORMERS_DYNAMIC_MODULE_NAME):
            # Of a checkpoint that names its own pipeline, transformers would refuse the registered one.
            kwargs.pop("custom_pipelines", None)
        super().__init__(**kwargs)

    @property
    def image_states_size(self) -> int:
        """Width of the states of `encode_images`."""
        return self.vision_config.hidden_size * len(self.vision_feature_layer or (-1,))

    def _check(self) -> None:
        if self.knowledge_fusion not in KNOWLEDGE_FUSIONS:
            raise ValueError(
                f"knowledge_fusion={self.knowledge_fusion!r} is unknown; choose one of {KNOWLEDGE_FUSIONS}."
            )
        if self.pooling_mode not in POOLING_MODES:
            raise ValueError(f"pooling_mode={self.pooling_mode!r} is unknown; choose one of {POOLING_MODES}.")
        if not isinstance(getattr(self.vision_config, "hidden_size", None), int):
            raise ValueError(
                f"The image encoder {self.vision_config.model_type!r} has no token states of one width (hidden_size); "
                "use a transformer encoder such as ViT, CLIP or DINOv2."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} does not divide hidden_size={self.hidden_size}."
            )


def heads_for(width: int) -> int:
    """Attention heads of 64 values where 64 divides `width`, as in BERT and ViT; else of the most below 64 that do."""
    return width // max(size for size in range(1, 65) if width % size == 0)


def _as_layers(value: int | Sequence[int] | None, vision_config: PreTrainedConfig) -> list[int] | None:
    """Places of hidden states as a list, the last one among them: blocks above it would be computed for nothing."""
    if value is None:
        return None
    layers = [value] if isinstance(value, int) else list(value)
    blocks = getattr(vision_config, "num_hidden_layers", None)
    if any(type(place) is not int or (blocks is not None and not -blocks - 1 <= place <= blocks) for place in layers):
        raise ValueError(
            f"vision_feature_layer={value}: give places of hidden states, of which the image encoder of {blocks} "
            f"blocks has 0 to {blocks}; -1 is the last one."
        )
    if not {-1, blocks} & {*layers}:
        raise ValueError(
            f"vision_feature_layer={value} leaves out the last state: add -1, or keep only the first blocks of the "
            "image encoder (--vision_layers)."
        )
    return layers


def _sub_config(value: PreTrainedConfig | dict[str, Any] | None, default: PreTrainedConfig) -> PreTrainedConfig:
    if value is None:
        return default
    if isinstance(value, dict):
        model_type = value.get("model_type", default.model_type)
        if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
            raise ValueError(f"The encoder or decoder {model_type!r} is none that this release of transformers knows.")
        return CONFIG_MAPPING[model_type](**value)
    if not isinstance(value, PreTrainedConfig):
        raise TypeError(
            f"The configuration of an encoder or decoder is a {type(value).__name__}: give one of transformers, or its "
            "dictionary."
        )
    return copy.deepcopy(value)  # the models change theirs, and one object may be given for two parts


def _decoder_config(value: PreTrainedConfig | dict[str, Any] | None, text_config: PreTrainedConfig) -> PreTrainedConfig:
    decoder_config = _sub_config(value, copy.deepcopy(text_config))
    decoder_config.is_decoder = True
    decoder_config.add_cross_attention = True
    return decoder_config
