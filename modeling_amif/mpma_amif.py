"""MPMA for pre-training: image and report are masked as a pair, aligned, fused and both reconstructed.

The abstract names joint reconstruction, global and local alignment and memory-augmented cross-modal fusion; how they
are built, sizes and ratios are our reading, after published relatives.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import ModelOutput, can_return_tuple

from .configuration_mpma_amif import MpmaConfig
from .dual_encoder_amif import AmifDualEncoder, contrastive_loss, unit, word_mask
from .encoder_loading_amif import load_tokenizer
from .model_outputs_amif import ALWAYS_SET, AmifEncoderOutput
from .modeling_amif import AmifEncoders
from .mpma_fusion_amif import (
    MpmaFusion,
    MpmaImageDecoder,
    MpmaMemory,
    MpmaReportHead,
    MpmaSelfAttention,
    grid_positions,
)


@dataclass
class MpmaPreTrainingOutput(ModelOutput):
    """What the losses of MPMA are made of.

    Args:
        loss: Scalar, `contrastive_loss` of images and reports at the first temperature; only with `return_loss=True`.
        image_embeds: (1, B, e) unit vectors of the images as they were read.
        text_embeds: (B, e) unit vectors of the reports as they were read.
        temperatures: (1,): of whole images and reports.
        image_tokens: (B, v, e) the patches that were read, without a class token.
        text_tokens: (B, t, e).
        text_token_mask: (B, t) bool, True for words that were read: not hidden, [CLS], [SEP] or padding.
        patch_predictions: (B, P, channels x side x side) of all patches, in reading order.
        token_logits: (H, vocabulary) of the H hidden tokens, report by report.
        text_model_output: The text encoder's output with its hidden states and attentions; this and the next only with
            `output_hidden_states=True` or `output_attentions=True`.
        vision_model_output: The image encoder's.
    """

    loss: torch.Tensor | None = None
    image_embeds: torch.Tensor = ALWAYS_SET
    text_embeds: torch.Tensor = ALWAYS_SET
    temperatures: torch.Tensor = ALWAYS_SET
    image_tokens: torch.Tensor = ALWAYS_SET
    text_tokens: torch.Tensor = ALWAYS_SET
    text_token_mask: torch.Tensor = ALWAYS_SET
    patch_predictions: torch.Tensor = ALWAYS_SET
    token_logits: torch.Tensor = ALWAYS_SET
    text_model_output: AmifEncoderOutput | None = None
    vision_model_output: AmifEncoderOutput | None = None


class MpmaForPreTraining(AmifDualEncoder):
    """Encoders and projections shared with AMiF, adaptors for alignment, fusion with a memory, two decoders."""

    config: MpmaConfig
    config_class = MpmaConfig
    initial_temperatures = (0.07,)

    def __init__(self, config: MpmaConfig) -> None:
        super().__init__(config)
        self.model = AmifEncoders(config)
        self.image_summary_adaptor = nn.Linear(config.hidden_size, config.alignment_size)
        self.text_summary_adaptor = nn.Linear(config.hidden_size, config.alignment_size)
        self.image_adaptor = nn.Linear(config.hidden_size, config.alignment_size)
        self.text_adaptor = nn.Linear(config.hidden_size, config.alignment_size)
        self.fusion = MpmaFusion(config)
        self.num_patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
        self.image_decoder = MpmaImageDecoder(config, self.num_patches)
        table = self.model.get_input_embeddings()
        self.report_head = MpmaReportHead(config, table.embedding_dim)
        place = next(name for name, module in self.named_modules() if module is table)
        # Of the instance: the table's place depends on the text encoder.
        self._tied_weights_keys = {
            "report_head.decoder.weight": f"{place}.weight",
            "report_head.decoder.bias": "report_head.bias",
        }
        self.log_temperatures = nn.Parameter(torch.empty(len(self.initial_temperatures)))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MpmaMemory):
            init.normal_(module.memory, std=self.config.hidden_size**-0.5)
        elif isinstance(module, MpmaImageDecoder):
            init.normal_(module.mask_token, std=self.config.initializer_range)
            init.copy_(module.position_embeddings, grid_positions(*module.position_embeddings.shape))
        elif isinstance(module, MpmaReportHead):
            init.zeros_(module.bias)
        elif isinstance(module, MpmaSelfAttention):
            init.xavier_uniform_(module.in_proj_weight)
            init.zeros_(module.in_proj_bias)
            init.zeros_(module.out_proj.bias)

    def get_output_embeddings(self) -> nn.Module:
        """The layer that predicts hidden tokens; its weight is the word embeddings'."""
        return self.report_head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace that layer."""
        self.report_head.decoder = new_embeddings
        self.report_head.bias = new_embeddings.bias

    @classmethod
    def from_encoders(cls, vision: str, text: str, image_size: int | None = None, **config: Any) -> Self:
        """As `AmifDualEncoder.from_encoders`; [MASK] is that of the tokenizer beside the text encoder, if any."""
        if "mask_token_id" not in config:
            # Without a tokenizer it stays BERT's, as `load_encoders` says of the other special tokens.
            with suppress(OSError, ValueError):
                config["mask_token_id"] = load_tokenizer(text).mask_token_id
        return super().from_encoders(vision, text, image_size, **config)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        hidden_patches: torch.Tensor | None = None,
        hidden_tokens: torch.Tensor | None = None,
        align_full: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        return_loss: bool | None = None,
    ) -> MpmaPreTrainingOutput:
        """Read what is not hidden of each pair, and predict what is.

        Args:
            pixel_values: (B, channels, height, width) float.
            input_ids: (B, t) int64 tokens of the reports.
            attention_mask: (B, t), 1 where a token is valid; None where all are.
            hidden_patches: (B, P) bool, True where the image encoder does not see a patch, equally many in each image;
                None hides none.
            hidden_tokens: (B, t) bool, True where the text encoder reads [MASK]; None hides none.
            align_full: Align what a second pass reads of whole images and reports, not what is left of them.
            output_attentions: Return the encoders' attention weights; needs the eager attention implementation.
            output_hidden_states: Return the encoders' hidden states.
            inputs_embeds: (B, t, text width), in place of `input_ids`.
            token_type_ids: (B, t) int64, for text encoders that have such types.
            return_loss: Return the loss of whole images and reports.

        Raises:
            ValueError: If there is not one image for each report, or unequally many patches are hidden.
        """
        texts = {"input_ids": input_ids, "attention_mask": attention_mask}
        texts |= {"inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids}
        kept = output_attentions, output_hidden_states
        visible = self._visible_places(hidden_patches, pixel_values)
        image, text, mask, outputs = self._read(
            pixel_values, texts | self._masked(texts, hidden_tokens), *kept, visible_patches=visible
        )
        if hidden_tokens is None:
            hidden_tokens = torch.zeros_like(mask, dtype=torch.bool)
        fused = self.fusion(image, text, mask)
        words = word_mask(mask)
        if align_full:
            whole_image, whole_text, _, outputs = self._read(pixel_values, texts, *kept)
            aligned = self._align(whole_image, whole_text, words)
        else:
            aligned = self._align(image, text, words & ~hidden_tokens)
        whole = aligned["image_embeds"][0], aligned["text_embeds"]
        return MpmaPreTrainingOutput(
            loss=contrastive_loss(*whole, self.temperatures[0]) if return_loss else None,
            temperatures=self.temperatures,
            patch_predictions=self.image_decoder(image, visible),
            token_logits=self.report_head(fused[hidden_tokens]),
            **aligned,
            **outputs,
        )

    def _masked(
        self, texts: Mapping[str, torch.Tensor | None], hidden_tokens: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """Tokens, or their embeddings, with [MASK] in place of what is hidden."""
        ids, embeddings = texts["input_ids"], texts["inputs_embeds"]
        if hidden_tokens is None:
            return {}
        if embeddings is None:
            return {} if ids is None else {"input_ids": ids.masked_fill(hidden_tokens, self.config.mask_token_id)}
        mask = torch.full((1,), self.config.mask_token_id, device=embeddings.device)
        hidden = hidden_tokens.unsqueeze(-1)
        return {"inputs_embeds": torch.where(hidden, self.model.get_input_embeddings()(mask), embeddings)}

    def _visible_places(self, hidden_patches: torch.Tensor | None, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, v) places of the visible patches in reading order."""
        num_images = pixel_values.shape[0]
        if hidden_patches is None:
            return torch.arange(self.num_patches, device=pixel_values.device).expand(num_images, -1)
        counts = (~hidden_patches).sum(dim=1)
        if (counts != counts[0]).any():
            raise ValueError("Hide equally many patches of each image of a batch.")
        return (~hidden_patches).nonzero()[:, 1].view(num_images, -1)

    def _align(self, image: torch.Tensor, text: torch.Tensor, words: torch.Tensor) -> dict[str, torch.Tensor]:
        """Embeddings and tokens for alignment from states (B, p, d) and (B, t, d)."""
        return {
            "image_embeds": self._embed_image_states(image).unsqueeze(0),
            "text_embeds": self._embed_text_states(text, words),
            "image_tokens": self.image_adaptor(image[:, int(self._has_class_token) :]),
            "text_tokens": self.text_adaptor(text),
            "text_token_mask": words,
        }

    @property
    def _has_class_token(self) -> bool:
        # SigLIP is the one visible-patch encoder without; the number of visible states does not tell.
        return self.config.vision_config.model_type != "siglip_vision_model"

    def _embed_image_states(self, states: torch.Tensor) -> torch.Tensor:
        whole = states[:, 0] if self._has_class_token else states.mean(dim=1)
        return unit(self.image_summary_adaptor(whole))

    def _embed_text_states(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return unit(self.text_summary_adaptor(states[:, 0]))


MpmaForPreTraining.register_for_auto_class("AutoModel")
