"""AMiF: encoders, co-attention, gated knowledge fusion and decoder (arXiv 2510.08791)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from .co_attention_amif import AmifCoAttention, AmifCoAttentionLayer
from .configuration_amif import AmifConfig
from .encoders_amif import build_encoder, image_token_states, visible_token_states
from .input_checks_amif import check_image_index, check_image_states, check_images, check_texts

# `ModelOutput` wants None as every field's default, also of those that are never None.
ALWAYS_SET: Any = None


class AmifPreTrainedModel(PreTrainedModel):
    """What all AMiF models share: configuration, new weights, supported attention."""

    config: AmifConfig
    config_class: ClassVar[type[AmifConfig]] = AmifConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules: ClassVar[list[str]] = [AmifCoAttentionLayer.__name__]

    @classmethod
    def from_pretrained(cls, *arguments: Any, use_safetensors: bool | None = True, **options: Any) -> Self:
        """As of transformers, from safetensors alone: weights that are a pickle could run code.

        Raises:
            ValueError: If `use_safetensors` is False.
        """
        if use_safetensors is False:
            raise ValueError("AMiF models are read from safetensors alone: leave out use_safetensors=False.")
        return super().from_pretrained(*arguments, use_safetensors=True, **options)


class AmifEncoders(AmifPreTrainedModel):
    """Vision and text encoder and the projections of their token states to one width: what every objective trains."""

    def __init__(self, config: AmifConfig) -> None:
        super().__init__(config)
        self.vision_model = build_encoder(config.vision_config)
        self.text_model = build_encoder(config.text_config)
        self.image_projection = nn.Linear(config.vision_config.hidden_size, config.hidden_size)
        self.text_projection = nn.Linear(config.text_config.hidden_size, config.hidden_size)
        self._add_modules(config)
        self.post_init()

    def _add_modules(self, config: AmifConfig) -> None:
        """What a subclass has beside; called before weights are set, so that a seed gives the same ones ever."""

    def get_input_embeddings(self) -> nn.Embedding:
        """The text encoder's word embeddings, which also embed the knowledge vocabulary."""
        # transformers annotates any module; those of BERT-like encoders are tables.
        return cast(nn.Embedding, self.text_model.get_input_embeddings())

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the text encoder's word embeddings."""
        self.text_model.set_input_embeddings(value)

    def encode_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Token states (U, tokens, vision width) of images (U, channels, height, width), before the projection.

        Raises:
            TypeError: If the images are no tensor.
            ValueError: If they are not floats of that shape, of the encoder's channels and size, on its device.
        """
        check_images(pixel_values, self.config.vision_config, self.image_projection.weight.device)
        return image_token_states(self.vision_model, pixel_values, self.config.image_pooling)

    def encode_visible(self, pixel_values: torch.Tensor, visible_patches: torch.Tensor) -> torch.Tensor:
        """The same of each image's visible patches alone, (U, v) places; see `visible_token_states`. Never pooled."""
        check_images(pixel_values, self.config.vision_config, self.image_projection.weight.device)
        return visible_token_states(self.vision_model, pixel_values, visible_patches)

    def project_images(self, image_states: torch.Tensor) -> torch.Tensor:
        """States (..., d) of `encode_images`'s (..., vision width)."""
        return self.image_projection(image_states.to(self.image_projection.weight.dtype))

    def encode_texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Projected token states (B, t, d) of texts, `input_ids` and `attention_mask` (B, t).

        Raises:
            TypeError: If one is no tensor.
            ValueError: If their shapes differ, a token is none of the vocabulary's, padding does not stand at the end,
                or a text is longer than the encoder's positions.
        """
        check_texts(input_ids, attention_mask, self.text_model, self.text_projection.weight.device)
        states = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.text_projection(states)


@dataclass
class AmifModelOutput(ModelOutput):
    """Joint states of images and texts.

    Args:
        last_hidden_state: F, (B, t + p, d): text tokens first, then image tokens.
        attention_mask: (B, t + p) int64, 1 where a joint state is valid.
        text_attentions: Per layer (B, heads, t, t); this and the next three only with `output_attentions=True`.
        text_to_image_attentions: Per layer (B, heads, t, p), rows are text tokens.
        image_attentions: Per layer (B, heads, p, p).
        image_to_text_attentions: Per layer (B, heads, p, t), rows are image tokens.
    """

    last_hidden_state: torch.Tensor = ALWAYS_SET
    attention_mask: torch.Tensor = ALWAYS_SET
    text_attentions: tuple[torch.Tensor, ...] | None = None
    text_to_image_attentions: tuple[torch.Tensor, ...] | None = None
    image_attentions: tuple[torch.Tensor, ...] | None = None
    image_to_text_attentions: tuple[torch.Tensor, ...] | None = None


class AmifModel(AmifEncoders):
    """Encoders, projections and co-attention: images and texts to joint states (section 3.1)."""

    def _add_modules(self, config: AmifConfig) -> None:
        self.co_attention = AmifCoAttention(config)

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_index: torch.Tensor | None = None,
        image_states: torch.Tensor | None = None,
        output_attentions: bool = False,
    ) -> AmifModelOutput:
        """Encode images and texts and let them read each other.

        Args:
            pixel_values: (U, channels, height, width) float, one per unique image.
            input_ids: (B, t) int64 tokens of the texts.
            attention_mask: (B, t), 1 where a token is valid, padding at the end; None where all are.
            image_index: (B,) int64, the row of `pixel_values` that each text is about; None means text i, image i.
            image_states: States of `encode_images`, (U, tokens, vision width), in place of `pixel_values`.
            output_attentions: Return attention weights; needs the eager attention implementation.

        Raises:
            TypeError: If what should be a tensor is none.
            ValueError: If images or texts are missing, their numbers differ without `image_index`, a tensor has another
                shape, dtype, device or value than said, or attention weights are asked for from an implementation that
                does not keep them.
        """
        if output_attentions and self.config._attn_implementation != "eager":
            raise ValueError(
                f"Attention weights are not kept by {self.config._attn_implementation!r} attention; call "
                "model.set_attn_implementation('eager') first."
            )
        if input_ids is None or (pixel_values is None) == (image_states is None):
            raise ValueError("Give input_ids, and either pixel_values or image_states.")
        device = self.text_projection.weight.device
        check_texts(input_ids, attention_mask, self.text_model, device)
        if image_states is None:
            image_states = self.encode_images(cast(torch.Tensor, pixel_values))
        check_image_states(image_states, self.config.vision_config.hidden_size, device)
        check_image_index(image_index, image_states.shape[0], input_ids.shape[0], device)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        image = self.project_images(image_states)
        if image_index is not None:
            image = image[image_index]
        text = self.encode_texts(input_ids, attention_mask)
        text, image, attentions = self.co_attention(text, image, attention_mask)
        image_mask = attention_mask.new_ones(image.shape[:2])
        return AmifModelOutput(
            last_hidden_state=torch.cat([text, image], dim=1),
            attention_mask=torch.cat([attention_mask, image_mask], dim=1),
            **(attentions if output_attentions else {}),
        )


# Saving a checkpoint copies this file and its siblings beside the weights.
AmifModel.register_for_auto_class("AutoModel")
AmifConfig.register_for_auto_class()
