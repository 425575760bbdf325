"""Embedding whole images and texts in one space: what every model for pre-training shares."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn
from transformers import initialization as init

from .encoder_loading_amif import check_fields, copy_weights, load_encoders
from .encoders_amif import has_class_token
from .model_outputs_amif import EncoderOutputs
from .modeling_amif import AmifEncoders, AmifPreTrainedModel


class AmifDualEncoder(AmifPreTrainedModel):
    """A model for pre-training: encoders in `model`, an `AmifEncoders`, and learnable temperatures.

    `log_temperatures` holds logarithms: a temperature never becomes negative, however large a step.

    A forward returns what the objective's losses are made of, and its trainer, such as `AmifPreTrainer`, computes them.
    The stock `Trainer` needs a loss: with `return_loss=True` in each batch it is `contrastive_loss` alone, CLIP's.
    """

    model: AmifEncoders
    log_temperatures: nn.Parameter
    initial_temperatures: tuple[float, ...]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AmifDualEncoder):
            init.copy_(module.log_temperatures, torch.tensor(module.initial_temperatures).log())

    def save_pretrained(self, *arguments: Any, **options: Any) -> None:
        """As of transformers; both Auto classes find the code beside the weights."""
        # Written here because `register_for_auto_class` holds one Auto class.
        name = f"{type(self).__module__.rpartition('.')[2]}.{type(self).__name__}"
        self.config.auto_map = {**(getattr(self.config, "auto_map", None) or {}), "AutoModelForPreTraining": name}
        super().save_pretrained(*arguments, **options)

    @classmethod
    def from_encoders(
        cls,
        vision: str,
        text: str,
        image_size: int | None = None,
        vision_layers: int | None = None,
        text_layers: int | None = None,
        **config: Any,
    ) -> Self:
        """Build a model from pretrained encoders, in float32; all else, projections too, is new.

        Args:
            vision: Name or path of an image encoder. A CLIP checkpoint gives its vision tower, open_clip:NAME_OR_FOLDER
                that of an open_clip model.
            text: Name or path of a BERT-like text encoder, or open_clip:NAME_OR_FOLDER.
            image_size: Pixels on a side. Position embeddings are resized to it; None keeps the encoder's size.
            vision_layers: Keep only so many of the image encoder's layers, the first; None keeps all.
            text_layers: Likewise of the text encoder.
            **config: Further fields of the model's configuration.

        Raises:
            ValueError: If an encoder has fewer layers than it shall keep, or the patches do not divide `image_size`.
        """
        check_fields(config, cls.config_class)
        vision_model, text_model, configs = load_encoders(vision, text, image_size, vision_layers, text_layers)
        fields: dict[str, Any] = {**configs, **config}
        model = cls(cls.config_class(**fields))
        copy_weights(vision_model, model.model.vision_model)
        copy_weights(text_model, model.model.text_model)
        return model

    def _read(
        self,
        pixel_values: torch.Tensor,
        texts: Mapping[str, torch.Tensor | None],
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        views: tuple[int, ...] = (1,),
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, EncoderOutputs]:
        """Read images and texts.

        Args:
            pixel_values: (U, channels, height, width).
            texts: What `AmifEncoders.read_texts` takes.
            output_attentions: Keep the encoders' attention weights; None does as the configuration says.
            output_hidden_states: Likewise their hidden states.
            views: How many images there may be of each study.
            **options: Further arguments of `AmifEncoders.read_images`.

        Returns:
            Projected token states of images (U, p, d) and texts (B, t, d); the texts' mask (B, t); and by name the
            encoders' outputs, where something of them is to be kept.

        Raises:
            ValueError: If there are not so many images.
        """
        kept = self._kept(output_attentions, output_hidden_states)
        vision = self.model.read_images(pixel_values, **options, **kept)
        language = self.model.read_texts(**texts, **kept)
        text = self.model.text_projection(language.last_hidden_state)
        counts = vision.last_hidden_state.shape[0], text.shape[0]
        if counts[0] not in [number * counts[1] for number in views]:
            wanted = "one image" if len(views) == 1 else "one or two views"
            raise ValueError(f"{counts[0]} images and {counts[1]} reports: give {wanted} of each study.")
        mask = texts["attention_mask"]
        if mask is None:
            mask = torch.ones(text.shape[:2], dtype=torch.long, device=text.device)
        outputs = EncoderOutputs(text_model_output=language, vision_model_output=vision) if kept else EncoderOutputs()
        return self.model.project_images(vision.last_hidden_state), text, mask, outputs

    @property
    def temperatures(self) -> torch.Tensor:
        """One for each of `initial_temperatures`, float32."""
        return self.log_temperatures.float().exp()

    def embed_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Unit vectors (U, d) float32 of images (U, channels, height, width)."""
        return self._embed_image_states(self.model.project_images(self.model.encode_images(pixel_values)))

    def embed_texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Unit vectors (B, d) float32 of texts, `input_ids` and `attention_mask` (B, t)."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        return self._embed_text_states(self.model.encode_texts(input_ids, attention_mask), attention_mask)

    def _embed_image_states(self, states: torch.Tensor) -> torch.Tensor:
        """Unit vectors (..., d) float32 of the projected token states (..., p, d) of whole images.

        With `pooling_mode` "mean" each token counts as its unit vector. Up to their lengths two means are then as near
        as their tokens are on average: a long token would outweigh others, which equation 10 takes alike.
        """
        return unit(self.pool_images(self._with_equal_lengths(states)))

    def _embed_text_states(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The same of texts, (B, t, d) to (B, d); `attention_mask` (B, t)."""
        return unit(self.pool_texts(self._with_equal_lengths(states), attention_mask))

    def _with_equal_lengths(self, states: torch.Tensor) -> torch.Tensor:
        return unit(states) if self.config.pooling_mode == "mean" else states

    def pool_images(self, states: torch.Tensor) -> torch.Tensor:
        """(..., d) of the token states (..., p, d) of whole images, as `pooling_mode` says."""
        extra = int(has_class_token(states.shape[-2]))
        if extra and self.config.pooling_mode == "cls":
            return states[..., 0, :]
        return states[..., extra:, :].mean(dim=-2)

    def pool_texts(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(B, d) of token states (B, t, d) of texts, as `pooling_mode` says; `attention_mask` (B, t).

        The mean of a text without words is 0.
        """
        if self.config.pooling_mode == "cls":
            return states[:, 0]
        words = word_mask(attention_mask).unsqueeze(-1)
        return states.masked_fill(~words, 0).sum(dim=1) / words.sum(dim=1).clamp(min=1)


def contrastive_loss(image_embeds: torch.Tensor, text_embeds: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """InfoNCE of unit vectors (B, d) in both directions, as CLIP's: a scalar in nats."""
    similarities = image_embeds @ text_embeds.T / temperature
    pairs = torch.arange(similarities.shape[0], device=similarities.device)
    losses = [nn.functional.cross_entropy(rows, pairs) for rows in (similarities, similarities.T)]
    return (losses[0] + losses[1]) / 2


def unit(states: torch.Tensor) -> torch.Tensor:
    """`states` (..., d) divided by their lengths, float32."""
    return nn.functional.normalize(states.float(), dim=-1)


def patch_mask(image_states: torch.Tensor) -> torch.Tensor:
    """(B, p) bool, True for the patches of (B, p, d): not for a class token."""
    mask = torch.ones(image_states.shape[:2], dtype=torch.bool, device=image_states.device)
    mask[:, 0] = not has_class_token(image_states.shape[1])
    return mask


def word_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """True where a token of (B, t) is valid and neither the first, [CLS], nor the last valid one, [SEP]."""
    valid = attention_mask.bool()
    followed = torch.cat([valid[:, 1:], torch.zeros_like(valid[:, :1])], dim=1)
    words = valid & followed
    words[:, 0] = False
    return words
