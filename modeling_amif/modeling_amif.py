"""AMiF: encoders, co-attention, gated knowledge fusion and decoder (arXiv 2510.08791)."""

from typing import Any, ClassVar, Self, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from .attention_amif import rows_at
from .co_attention_amif import AmifCoAttention, AmifCoAttentionLayer
from .configuration_amif import MAX_VIEWS, AmifConfig
from .encoders_amif import build_encoder, read_images, read_visible_patches
from .input_checks_amif import (
    check_image_index,
    check_image_states,
    check_images,
    check_texts,
    may_be_read,
    takes_other_sizes,
)
from .model_outputs_amif import AmifEncoderOutput, AmifModelOutput, Kept

logger = logging.get_logger(__name__)


class AmifPreTrainedModel(PreTrainedModel):
    """What all AMiF models share: configuration, new weights, supported attention."""

    config: AmifConfig
    config_class: ClassVar[type[AmifConfig]] = AmifConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities: Any = ("image", "text")
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flex_attn = True
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

    def _kept(self, output_attentions: bool | None, output_hidden_states: bool | None) -> Kept:
        """What outputs shall hold beside; what a call does not say, the configuration does.

        Eager attention alone keeps its weights: where they are asked for, the model has it from then on.
        """
        kept = Kept()
        if self.config.output_attentions if output_attentions is None else output_attentions:
            kept["output_attentions"] = True
        if self.config.output_hidden_states if output_hidden_states is None else output_hidden_states:
            kept["output_hidden_states"] = True
        if "output_attentions" in kept and self.config._attn_implementation != "eager":
            logger.warning_once(
                f"{self.config._attn_implementation} attention keeps no weights: attention is eager from now on; "
                "set_attn_implementation sets another."
            )
            self.set_attn_implementation("eager")
        return kept


class AmifEncoders(AmifPreTrainedModel):
    """Vision and text encoder and the projections of their token states to one width: what every objective trains."""

    def __init__(self, config: AmifConfig) -> None:
        super().__init__(config)
        self.vision_model = build_encoder(config.vision_config)
        self.text_model = build_encoder(config.text_config)
        self.image_projection = nn.Linear(config.image_states_size, config.hidden_size)
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

    def read_images(
        self,
        pixel_values: torch.Tensor,
        interpolate_pos_encoding: bool = False,
        visible_patches: torch.Tensor | None = None,
        **kept: Any,
    ) -> AmifEncoderOutput:
        """The image encoder's output; `last_hidden_state` is what `encode_images` or `encode_visible` returns.

        Args:
            pixel_values: (U, channels, height, width) float.
            interpolate_pos_encoding: Read images of another size than the configured.
            visible_patches: (U, v) places of the only patches that are read; None reads all.
            **kept: `output_hidden_states=True`, `output_attentions=True`.

        Raises:
            TypeError: If the images are no tensor.
            ValueError: If they are not floats of that shape, of the encoder's channels and size, on its device.
        """
        check_images(pixel_values, self.vision_model, interpolate_pos_encoding)
        if interpolate_pos_encoding and takes_other_sizes(self.vision_model):
            kept["interpolate_pos_encoding"] = True
        layers = self.config.vision_feature_layer
        if visible_patches is not None:
            return read_visible_patches(self.vision_model, pixel_values, visible_patches, layers, **kept)
        return read_images(self.vision_model, pixel_values, self.config.image_pooling, layers, **kept)

    def encode_images(self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool = False) -> torch.Tensor:
        """Token states (U, tokens, image_states_size) of images (U, channels, height, width), before the projection.

        Raises:
            TypeError: As `read_images`.
            ValueError: As `read_images`.
        """
        return self.read_images(pixel_values, interpolate_pos_encoding).last_hidden_state

    def encode_visible(self, pixel_values: torch.Tensor, visible_patches: torch.Tensor) -> torch.Tensor:
        """The same of each image's visible patches alone, (U, v) places. Never pooled."""
        return self.read_images(pixel_values, visible_patches=visible_patches).last_hidden_state

    def project_images(self, image_states: torch.Tensor) -> torch.Tensor:
        """States (..., d) of `encode_images`'s (..., image_states_size)."""
        # States kept from before may be of another dtype. A quantised weight's own would be that of its codes.
        return self.image_projection(image_states.to(self.dtype))

    def read_texts(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        **kept: Any,
    ) -> AmifEncoderOutput:
        """The text encoder's output, before the projection.

        Args:
            input_ids: (B, t) int64 tokens.
            attention_mask: (B, t), 1 where a token is valid; None where all are.
            inputs_embeds: (B, t, text width) float, in place of `input_ids`.
            token_type_ids: (B, t) int64, for text encoders that have such types; None means the first.
            **kept: `output_hidden_states=True`, `output_attentions=True`.

        Raises:
            TypeError: If what should be a tensor is none.
            ValueError: If shapes differ, a token is none of the vocabulary's, padding does not stand at the end, or a
                text is longer than the encoder's positions.
        """
        check_texts(input_ids, attention_mask, self.text_model, inputs_embeds, token_type_ids)
        given = {"inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids}
        given = {name: tensor for name, tensor in given.items() if tensor is not None}
        output = self.text_model(input_ids=input_ids, attention_mask=attention_mask, **given, **kept)
        return AmifEncoderOutput(
            last_hidden_state=output.last_hidden_state,
            hidden_states=getattr(output, "hidden_states", None),
            attentions=getattr(output, "attentions", None),
        )

    def encode_texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Projected token states (B, t, d) of texts, `input_ids` and `attention_mask` (B, t).

        Raises:
            TypeError: As `read_texts`.
            ValueError: As `read_texts`.
        """
        return self.text_projection(self.read_texts(input_ids, attention_mask).last_hidden_state)


class AmifModel(AmifEncoders):
    """Encoders, projections and co-attention: images and texts to joint states (section 3.1)."""

    def _add_modules(self, config: AmifConfig) -> None:
        self.co_attention = AmifCoAttention(config)
        self.view_embedding = nn.Embedding(MAX_VIEWS, config.hidden_size) if config.view_embedding else None

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if self.view_embedding is not None and module is self.view_embedding:
            init.zeros_(self.view_embedding.weight)

    def add_view_embedding(self) -> None:
        """Have the images of one question told apart from now on, where they are not; outputs stay as they are.

        The embedding is zero until it is trained, and kept in the checkpoint.
        """
        if self.view_embedding is None:
            like = self.co_attention.modality_embedding.weight
            self.view_embedding = nn.Embedding.from_pretrained(like.new_zeros(MAX_VIEWS, like.shape[1]), freeze=False)
            self.config.view_embedding = True

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_index: torch.Tensor | None = None,
        image_states: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> AmifModelOutput:
        """Encode images and texts and let them read each other.

        Args:
            pixel_values: (U, channels, height, width) float, one per unique image.
            input_ids: (B, t) int64 tokens of the texts.
            attention_mask: (B, t), 1 where a token is valid, padding at the end; None where all are.
            image_index: (B,) int64, the row of `pixel_values` that each text is about; or (B, V), the rows of up to
                four views, whose tokens stand behind one another, and -1 behind the last of a text that has fewer. None
                means text i, image i.
            image_states: States of `encode_images`, (U, tokens, image_states_size), in place of `pixel_values`.
            output_attentions: Return attention weights; needs the eager attention implementation. None does as the
                configuration says.
            output_hidden_states: Return the states of every layer; None does as the configuration says.
            inputs_embeds: (B, t, text width) float word embeddings, in place of `input_ids`.
            token_type_ids: (B, t) int64, for text encoders that have such types.
            interpolate_pos_encoding: Read images of another size than the configured.

        Raises:
            TypeError: If what should be a tensor is none.
            ValueError: If images or texts are missing, their numbers differ without `image_index`, a tensor has another
                shape, dtype, device or value than said, or attention weights are asked for from an implementation that
                does not keep them.
        """
        kept = self._kept(output_attentions, output_hidden_states)
        if (pixel_values is None) == (image_states is None):
            raise ValueError("Give the images either as pixel_values or image_states.")
        images = None if pixel_values is None else self.read_images(pixel_values, interpolate_pos_encoding, **kept)
        states = cast(torch.Tensor, image_states if images is None else images.last_hidden_state)
        check_image_states(states, self.config.image_states_size, self)
        image = self.project_images(states)
        given = input_ids, attention_mask, inputs_embeds, token_type_ids
        texts, attention_mask, text_index = self._read_each_text_once(*given, kept)
        text = self.text_projection(texts.last_hidden_state)
        num_texts = text.shape[0] if text_index is None else text_index.shape[0]
        check_image_index(image_index, image.shape[0], num_texts, self)
        image, image_index, views_mask = self._join_views(image, image_index)
        indices = {"text_index": text_index, "image_index": image_index}
        text, image, extras = self.co_attention(text, image, attention_mask, views_mask, **indices, **kept)
        attention_mask = rows_at(attention_mask, text_index)
        image_mask = attention_mask.new_ones(image.shape[:2]) if views_mask is None else views_mask.to(attention_mask)
        return AmifModelOutput(
            last_hidden_state=torch.cat([text, image], dim=1),
            attention_mask=torch.cat([attention_mask, image_mask], dim=1),
            **extras,
            **({"text_model_output": texts, "vision_model_output": images} if kept else {}),
        )

    def _join_views(
        self, image: torch.Tensor, image_index: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Each text's image tokens, those of its views behind one another.

        Args:
            image: Projected states (U, p, d).
            image_index: As in `forward`.

        Returns:
            States (B, V * p, d), or (U, p, d) and the index of each text's where several share them; and (B, V * p)
            bool, True where the view is there, None where all texts have one.
        """
        mask = None
        if image_index is not None and image_index.dim() == 2:
            views, mask = image[image_index.clamp(min=0)], (image_index >= 0).repeat_interleave(image.shape[1], dim=1)
            image_index = None
        elif image_index is None or torch.compiler.is_compiling() or image.shape[0] >= image_index.shape[0]:
            views, image_index = rows_at(image, image_index).unsqueeze(1), None
        else:
            views = image.unsqueeze(1)
        if self.view_embedding is not None:
            numbers = torch.arange(views.shape[1], device=views.device)
            views = views + self.view_embedding(numbers).unsqueeze(1)
        elif views.shape[1] > 1:
            logger.warning_once(
                "This model learned from one image a question: it reads several, but cannot tell which is which, nor "
                "has it learned to compare them. Fine-tune it on questions about several images."
            )
        return views.flatten(1, 2), image_index, mask

    def _read_each_text_once(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        token_type_ids: torch.Tensor | None,
        kept: Kept,
    ) -> tuple[AmifEncoderOutput, torch.Tensor, torch.Tensor | None]:
        """Read texts, equal ones once: no two of them where dropout, or what is kept, makes a difference.

        Args:
            input_ids: (B, t), and the next three as in `forward`.
            attention_mask: (B, t).
            inputs_embeds: (B, t, text width).
            token_type_ids: (B, t).
            kept: What the output shall hold beside.

        Returns:
            The output of `read_texts`; the mask of what was read, (texts, t), ones where none was given; and the place
            of each text in it, (B,) int64, or None where each was read by itself.
        """
        check_texts(input_ids, attention_mask, self.text_model, inputs_embeds, token_type_ids)
        index, drops = None, any(value for name, value in vars(self.text_model.config).items() if "drop" in name)
        alike = not kept and token_type_ids is None and not (self.text_model.training and drops)
        if alike and input_ids is not None and may_be_read(input_ids):
            input_ids, attention_mask, index = distinct_texts(input_ids, attention_mask)
        texts = self.read_texts(input_ids, attention_mask, inputs_embeds, token_type_ids, **kept)
        if attention_mask is None:
            shape, device = texts.last_hidden_state.shape[:2], texts.last_hidden_state.device
            attention_mask = torch.ones(shape, dtype=torch.long, device=device)
        return texts, attention_mask, index


def distinct_texts(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Texts (B, t), their tokens and mask, each once, and (B,) the place of each; no place where none is twice."""
    masks = [] if attention_mask is None else [attention_mask.to(input_ids)]
    rows, index = torch.unique(torch.cat([input_ids, *masks], dim=1), dim=0, return_inverse=True)
    if rows.shape[0] == input_ids.shape[0]:
        return input_ids, attention_mask, None
    ids, *masks = rows.split(input_ids.shape[1], dim=1)
    return ids, masks[0] if masks else None, index


# Saving a checkpoint copies this file and its siblings beside the weights.
AmifModel.register_for_auto_class("AutoModel")
AmifConfig.register_for_auto_class()
