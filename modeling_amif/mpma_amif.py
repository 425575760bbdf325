"""MPMA for pre-training: image and report are masked as a pair, aligned, fused and both reconstructed.

The abstract names joint reconstruction, global and local alignment and memory-augmented cross-modal fusion; how they
are built, sizes and ratios are our reading, after published relatives.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from transformers import AutoTokenizer
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from .configuration_mpma_amif import MpmaConfig
from .dual_encoder_amif import AmifDualEncoder, unit, word_mask
from .modeling_amif import ALWAYS_SET, AmifEncoders
from .mpma_fusion_amif import MpmaFusion, MpmaImageDecoder, MpmaMemory, MpmaReportHead, grid_positions


@dataclass
class MpmaPreTrainingOutput(ModelOutput):
    """What the losses of MPMA are made of.

    Args:
        image_embeds: (1, B, e) unit vectors of the images as they were read.
        text_embeds: (B, e) unit vectors of the reports as they were read.
        temperatures: (1,): of whole images and reports.
        image_tokens: (B, v, e) the patches that were read, without a class token.
        text_tokens: (B, t, e).
        text_token_mask: (B, t) bool, True for words that were read: not hidden, [CLS], [SEP] or padding.
        patch_predictions: (B, P, channels x side x side) of all patches, in reading order.
        token_logits: (H, vocabulary) of the H hidden tokens, report by report.
    """

    image_embeds: torch.Tensor = ALWAYS_SET
    text_embeds: torch.Tensor = ALWAYS_SET
    temperatures: torch.Tensor = ALWAYS_SET
    image_tokens: torch.Tensor = ALWAYS_SET
    text_tokens: torch.Tensor = ALWAYS_SET
    text_token_mask: torch.Tensor = ALWAYS_SET
    patch_predictions: torch.Tensor = ALWAYS_SET
    token_logits: torch.Tensor = ALWAYS_SET


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
        self.report_head = MpmaReportHead(config, self.model.get_input_embeddings().embedding_dim)
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

    @classmethod
    def from_encoders(cls, vision: str, text: str, image_size: int | None = None, **config: Any) -> Self:
        """As `AmifDualEncoder.from_encoders`; [MASK] is that of the tokenizer beside the text encoder, if any."""
        if "mask_token_id" not in config:
            # Without a tokenizer it stays BERT's, as `load_encoders` says of the other special tokens.
            with suppress(OSError, ValueError):
                config["mask_token_id"] = AutoTokenizer.from_pretrained(text, trust_remote_code=False).mask_token_id
        return super().from_encoders(vision, text, image_size, **config)

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        hidden_patches: torch.Tensor | None = None,
        hidden_tokens: torch.Tensor | None = None,
        align_full: bool = False,
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

        Raises:
            ValueError: If there is not one image for each report, or unequally many patches are hidden.
        """
        if len(pixel_values) != len(input_ids):
            raise ValueError(f"{len(pixel_values)} images and {len(input_ids)} reports: give one image of each study.")
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if hidden_tokens is None:
            hidden_tokens = torch.zeros_like(input_ids, dtype=torch.bool)
        visible = self._visible_places(hidden_patches, len(pixel_values))
        image = self.model.project_images(self.model.encode_visible(pixel_values, visible))
        read_ids = input_ids.masked_fill(hidden_tokens, self.config.mask_token_id)
        text = self.model.encode_texts(read_ids, attention_mask)
        fused = self.fusion(image, text, attention_mask)
        words = word_mask(attention_mask)
        if align_full:
            whole_image = self.model.project_images(self.model.encode_images(pixel_values))
            aligned = self._align(whole_image, self.model.encode_texts(input_ids, attention_mask), words)
        else:
            aligned = self._align(image, text, words & ~hidden_tokens)
        word_embeddings = self.model.get_input_embeddings().weight
        return MpmaPreTrainingOutput(
            temperatures=self.temperatures,
            patch_predictions=self.image_decoder(image, visible),
            token_logits=self.report_head(fused[hidden_tokens], word_embeddings),
            **aligned,
        )

    def _visible_places(self, hidden_patches: torch.Tensor | None, num_images: int) -> torch.Tensor:
        """(B, v) places of the visible patches in reading order."""
        if hidden_patches is None:
            return torch.arange(self.num_patches, device=self.device).expand(num_images, -1)
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
