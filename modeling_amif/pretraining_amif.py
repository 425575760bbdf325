"""AMiF for pre-training: global embeddings, fused tokens for local alignment, and the matching head."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.utils.generic import ModelOutput, can_return_tuple

from .co_attention_amif import IMAGE, TEXT
from .configuration_amif import AmifConfig
from .dual_encoder_amif import AmifDualEncoder, contrastive_loss, patch_mask, word_mask
from .input_checks_amif import check_hard_negatives
from .model_outputs_amif import ALWAYS_SET, AmifEncoderOutput
from .modeling_amif import AmifModel

MATCHING_KINDS = ("image_text", "image_image", "text_text")


@dataclass
class AmifPreTrainingOutput(ModelOutput):
    """What the losses of pre-training are made of.

    Args:
        loss: Scalar, `contrastive_loss` of images and reports at the first temperature; only with `return_loss=True`.
        image_embeds: (V, B, d) unit vectors proj(v), one row for each of the V views.
        text_embeds: (B, d) unit vectors proj(r).
        temperatures: (3,): tau_1 of image-text, tau_2 of image-image and tau_3 of text-text similarities.
        fused_image_states: (B, p, d), the first view after reading the report; this and the rest only with
            `hard_negatives`.
        fused_text_states: (B, t, d), the report after reading the first view.
        image_token_mask: (B, p) bool, True for patches.
        text_token_mask: (B, t) bool, True for words: not [CLS], [SEP] or padding.
        negative_image_states: (B, p, d), the first view after reading the hard negative's report; it means nothing
            where there is none.
        negative_text_states: (B, t, d), that report after reading the view.
        negative_text_mask: (B, t) bool, as `text_token_mask`, of that report.
        matching_logits: (K, 2B, 2), by kind, the first K of `MATCHING_KINDS`: B positive pairs, then B hard negatives.
            Where a hard negative was skipped its logits mean nothing.
        text_model_output: The text encoder's output with its hidden states and attentions; this and the next only with
            `output_hidden_states=True` or `output_attentions=True`.
        vision_model_output: The image encoder's.
    """

    loss: torch.Tensor | None = None
    image_embeds: torch.Tensor = ALWAYS_SET
    text_embeds: torch.Tensor = ALWAYS_SET
    temperatures: torch.Tensor = ALWAYS_SET
    fused_image_states: torch.Tensor | None = None
    fused_text_states: torch.Tensor | None = None
    image_token_mask: torch.Tensor | None = None
    text_token_mask: torch.Tensor | None = None
    negative_image_states: torch.Tensor | None = None
    negative_text_states: torch.Tensor | None = None
    negative_text_mask: torch.Tensor | None = None
    matching_logits: torch.Tensor | None = None
    text_model_output: AmifEncoderOutput | None = None
    vision_model_output: AmifEncoderOutput | None = None


class AmifForPreTraining(AmifDualEncoder):
    """Encoders, projections, co-attention, temperatures and matching head (sections 3.2 and 3.3).

    One forward gives all that the losses need; the losses themselves are functions of its output.
    """

    model: AmifModel
    initial_temperatures = (0.07, 0.07, 0.07)

    def __init__(self, config: AmifConfig) -> None:
        super().__init__(config)
        self.model = AmifModel(config)
        self.matching_head = nn.Linear(2 * config.hidden_size, 2)
        self.log_temperatures = nn.Parameter(torch.empty(len(self.initial_temperatures)))
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        hard_negatives: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        return_loss: bool | None = None,
    ) -> AmifPreTrainingOutput:
        """Embed studies and, where hard negatives are given, fuse and match them.

        Args:
            pixel_values: (V B, channels, height, width) float: the first views of all B studies, then the second ones;
                V is 1 or 2.
            input_ids: (B, t) int64 tokens of the reports.
            attention_mask: (B, t), 1 where a token is valid; None where all are.
            hard_negatives: (B, 3) int64: for each study the places in the batch of the report that its first view, the
                last view that its first view, and the report that its report is paired with; -1 where there is none.
                (B, 1) pairs images with reports alone.
            output_attentions: Return the encoders' attention weights; needs the eager attention implementation.
            output_hidden_states: Return the encoders' hidden states.
            inputs_embeds: (B, t, text width), in place of `input_ids`.
            token_type_ids: (B, t) int64, for text encoders that have such types.
            interpolate_pos_encoding: Read images of another size than the configured.
            return_loss: Return the loss of whole images and reports.

        Raises:
            TypeError: If what should be a tensor is none.
            ValueError: If there are not one or two images for each report, or a tensor has another shape, dtype, device
                or value than said.
        """
        texts = {"input_ids": input_ids, "attention_mask": attention_mask}
        texts |= {"inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids}
        kept, size = (output_attentions, output_hidden_states), interpolate_pos_encoding
        image, text, mask, outputs = self._read(pixel_values, texts, *kept, views=(1, 2), interpolate_pos_encoding=size)
        views, matched = image.unflatten(0, (-1, text.shape[0])), {}
        if hard_negatives is not None:
            check_hard_negatives(hard_negatives, text.shape[0], self)
            matched = self._match_image_text(views[0], text, mask, hard_negatives[:, 0].clamp(min=0))
            if hard_negatives.shape[1] > 1:
                # Dropout, where there is any, makes it another reading of the same report.
                twin = self.model.text_projection(self.model.read_texts(**texts).last_hidden_state)
                neighbour, similar = hard_negatives[:, 1:].clamp(min=0).unbind(dim=1)
                logits = self._match_alike(views, text, twin, mask, neighbour, similar)
                matched["matching_logits"] = torch.cat([matched["matching_logits"], logits])
        image_embeds, text_embeds = self._embed_image_states(views), self._embed_text_states(text, mask)
        return AmifPreTrainingOutput(
            loss=contrastive_loss(image_embeds[0], text_embeds, self.temperatures[0]) if return_loss else None,
            image_embeds=image_embeds,
            text_embeds=text_embeds,
            temperatures=self.temperatures,
            **matched,
            **outputs,
        )

    def _match_image_text(
        self, image: torch.Tensor, text: torch.Tensor, mask: torch.Tensor, report: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Fuse images with their reports and with hard negatives in one pass, and classify the pairs."""
        masks = torch.cat([mask, mask[report]])
        fused_text, fused_image, _ = self.model.co_attention(
            torch.cat([text, text[report]]), torch.cat([image, image]), masks
        )
        pair = self.pool_images(fused_image), self.pool_texts(fused_text, masks)
        return {
            "fused_image_states": fused_image[: text.shape[0]],
            "fused_text_states": fused_text[: text.shape[0]],
            "image_token_mask": patch_mask(image),
            "text_token_mask": word_mask(mask),
            "negative_image_states": fused_image[len(text) :],
            "negative_text_states": fused_text[len(text) :],
            "negative_text_mask": word_mask(mask[report]),
            "matching_logits": self.matching_head(torch.cat(pair, dim=-1)).unsqueeze(0),
        }

    def _match_alike(
        self,
        views: torch.Tensor,
        text: torch.Tensor,
        twin: torch.Tensor,
        mask: torch.Tensor,
        neighbour: torch.Tensor,
        similar: torch.Tensor,
    ) -> torch.Tensor:
        """Logits (2, 2B, 2) of two views and of two reports, each kind in one pass."""
        image, other_view = views[0], views[-1]
        masks, similar_masks = torch.cat([mask, mask]), torch.cat([mask, mask[similar]])
        co_attention = self.model.co_attention
        images = co_attention.fuse_alike(
            IMAGE, torch.cat([image, image]), torch.cat([other_view, other_view[neighbour]])
        )
        texts = co_attention.fuse_alike(
            TEXT, torch.cat([text, text]), torch.cat([twin, text[similar]]), masks, similar_masks
        )
        pairs = (
            tuple(self.pool_images(states) for states in images),
            (self.pool_texts(texts[0], masks), self.pool_texts(texts[1], similar_masks)),
        )
        return torch.stack([self.matching_head(torch.cat(pair, dim=-1)) for pair in pairs])


AmifForPreTraining.register_for_auto_class("AutoModel")
