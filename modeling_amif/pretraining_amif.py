"""AMiF for pre-training: global embeddings, fused tokens for local alignment, and the matching head."""

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from .co_attention_amif import IMAGE, TEXT
from .configuration_amif import AmifConfig
from .encoders_amif import copy_weights, has_class_token, load_encoders
from .modeling_amif import AmifModel, AmifPreTrainedModel

INITIAL_TEMPERATURE = 0.07
MATCHING_KINDS = ("image_text", "image_image", "text_text")


@dataclass
class AmifPreTrainingOutput(ModelOutput):
    """What the losses of pre-training are made of.

    Args:
        image_embeds: (V, B, d) unit vectors proj(v), one row for each of the V views.
        text_embeds: (B, d) unit vectors proj(r).
        temperatures: (3,): tau_1 of image-text, tau_2 of image-image and tau_3 of text-text similarities.
        fused_image_states: (B, p, d), the first view after reading the report; this and the rest only with
            `hard_negatives`.
        fused_text_states: (B, t, d), the report after reading the first view.
        image_token_mask: (B, p) bool, True for patches.
        text_token_mask: (B, t) bool, True for words: not [CLS], [SEP] or padding.
        matching_logits: (3, 2B, 2), by kind as in `MATCHING_KINDS`: B positive pairs, then B hard negatives. Where a
            hard negative was skipped its logits mean nothing.
    """

    image_embeds: torch.FloatTensor | None = None
    text_embeds: torch.FloatTensor | None = None
    temperatures: torch.FloatTensor | None = None
    fused_image_states: torch.FloatTensor | None = None
    fused_text_states: torch.FloatTensor | None = None
    image_token_mask: torch.BoolTensor | None = None
    text_token_mask: torch.BoolTensor | None = None
    matching_logits: torch.FloatTensor | None = None


class AmifForPreTraining(AmifPreTrainedModel):
    """Encoders, projections, co-attention, temperatures and matching head (sections 3.2 and 3.3).

    One forward gives all that the losses need; the losses themselves are functions of its output.
    """

    def __init__(self, config: AmifConfig) -> None:
        super().__init__(config)
        self.model = AmifModel(config)
        self.matching_head = nn.Linear(2 * config.hidden_size, 2)
        # As logarithms: a temperature never becomes negative, however large a step.
        self.log_temperatures = nn.Parameter(torch.empty(3))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AmifForPreTraining):
            init.constant_(module.log_temperatures, math.log(INITIAL_TEMPERATURE))

    @classmethod
    def from_encoders(cls, vision: str, text: str, image_size: int | None = None, **config: Any) -> Self:
        """Build a model from pretrained encoders, in float32; projections, co-attention and matching head are new.

        Args:
            vision: Name or path of an image encoder. A CLIP checkpoint gives its vision tower.
            text: Name or path of a BERT-like text encoder.
            image_size: Pixels on a side. Position embeddings are resized to it; None keeps the encoder's size.
            **config: Further fields of `AmifConfig`.
        """
        vision_model, text_model, configs = load_encoders(vision, text, image_size)
        model = cls(AmifConfig(**(configs | config)))
        copy_weights(vision_model, model.model.vision_model)
        copy_weights(text_model, model.model.text_model)
        return model

    @property
    def temperatures(self) -> torch.Tensor:
        """tau_1, tau_2 and tau_3 (3,), float32."""
        return self.log_temperatures.float().exp()

    def embed_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Unit vectors (U, d) float32 of images (U, channels, height, width)."""
        return _unit(_summary(self.model.project_images(self.model.encode_images(pixel_values))))

    def embed_texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Unit vectors (B, d) float32 of texts, `input_ids` and `attention_mask` (B, t)."""
        return _unit(self.model.encode_texts(input_ids, attention_mask)[:, 0])

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        hard_negatives: torch.Tensor | None = None,
    ) -> AmifPreTrainingOutput:
        """Embed studies and, where hard negatives are given, fuse and match them.

        Args:
            pixel_values: (V B, channels, height, width) float: the first views of all B studies, then the second ones;
                V is 1 or 2.
            input_ids: (B, t) int64 tokens of the reports.
            attention_mask: (B, t), 1 where a token is valid; None where all are.
            hard_negatives: (B, 3) int64: for each study the places in the batch of the report that its image, the image
                that its image, and the report that its report is paired with; -1 where there is none.

        Raises:
            ValueError: If there are not one or two images for each report.
        """
        if len(pixel_values) not in (len(input_ids), 2 * len(input_ids)):
            raise ValueError(
                f"{len(pixel_values)} images and {len(input_ids)} reports: give one or two views of each study."
            )
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        views = self.model.project_images(self.model.encode_images(pixel_values)).unflatten(0, (-1, len(input_ids)))
        text = self.model.encode_texts(input_ids, attention_mask)
        output = AmifPreTrainingOutput(
            image_embeds=_unit(_summary(views)), text_embeds=_unit(text[:, 0]), temperatures=self.temperatures
        )
        if hard_negatives is not None:
            # Dropout, where there is any, makes it another reading of the same report.
            twin = self.model.encode_texts(input_ids, attention_mask)
            output |= self._match(views, text, twin, attention_mask, hard_negatives)
        return output

    def _match(
        self,
        views: torch.Tensor,
        text: torch.Tensor,
        twin: torch.Tensor,
        mask: torch.Tensor,
        hard_negatives: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Fuse positive pairs and hard negatives of the three kinds, each kind in one pass, and classify them."""
        image, other_view = views[0], views[-1]
        report, neighbour, similar = hard_negatives.clamp(min=0).unbind(dim=1)
        co_attention = self.model.co_attention
        fused_text, fused_image, _ = co_attention(
            torch.cat([text, text[report]]), torch.cat([image, image]), torch.cat([mask, mask[report]])
        )
        images = co_attention.fuse_alike(IMAGE, torch.cat([image, image]), torch.cat([other_view, image[neighbour]]))
        texts = co_attention.fuse_alike(
            TEXT,
            torch.cat([text, text]),
            torch.cat([twin, text[similar]]),
            torch.cat([mask, mask]),
            torch.cat([mask, mask[similar]]),
        )
        pairs = (
            (_summary(fused_image), fused_text[:, 0]),
            tuple(_summary(states) for states in images),
            tuple(states[:, 0] for states in texts),
        )
        return {
            "fused_image_states": fused_image[: len(text)],
            "fused_text_states": fused_text[: len(text)],
            "image_token_mask": _patch_mask(image),
            "text_token_mask": _word_mask(mask),
            "matching_logits": torch.stack([self.matching_head(torch.cat(pair, dim=-1)) for pair in pairs]),
        }


def _unit(states: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(states.float(), dim=-1)


def _summary(image_states: torch.Tensor) -> torch.Tensor:
    """The class token of (..., p, d), or the mean of the patches where the encoder has none."""
    return image_states[..., 0, :] if has_class_token(image_states.shape[-2]) else image_states.mean(dim=-2)


def _patch_mask(image_states: torch.Tensor) -> torch.Tensor:
    mask = torch.ones(image_states.shape[:2], dtype=torch.bool, device=image_states.device)
    mask[:, 0] = not has_class_token(image_states.shape[1])
    return mask


def _word_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """True where a token is valid and neither the first, [CLS], nor the last valid one, [SEP]."""
    valid = attention_mask.bool()
    followed = torch.cat([valid[:, 1:], torch.zeros_like(valid[:, :1])], dim=1)
    words = valid & followed
    words[:, 0] = False
    return words


AmifForPreTraining.register_for_auto_class("AutoModel")

__all__ = ["MATCHING_KINDS", "AmifForPreTraining", "AmifPreTrainingOutput"]
