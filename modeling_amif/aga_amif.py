"""AGA for pre-training: tokens and patches of one pair, and the thresholds above which they gather each other.

The abstract names a Language-grouped and a Vision-grouped Threshold Gate that learn thresholds; what they read and how
they are built is our reading. Which name belongs to which direction is not said: here, as SPARC uses the words, the
language-grouped gate is that of tokens which gather patches.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import ModelOutput, can_return_tuple

from .configuration_aga_amif import AgaConfig
from .dual_encoder_amif import AmifDualEncoder, contrastive_loss, patch_mask, word_mask
from .model_outputs_amif import ALWAYS_SET, AmifEncoderOutput
from .modeling_amif import AmifEncoders

LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 1e-4, 0.95


@dataclass
class AgaPreTrainingOutput(ModelOutput):
    """What the losses of AGA are made of.

    Args:
        loss: Scalar, `contrastive_loss` of images and reports at the first temperature; only with `return_loss=True`.
        image_embeds: (1, B, d) unit vectors of the images.
        text_embeds: (B, d) unit vectors of the reports.
        temperatures: (2,): of whole images and reports, and of groups.
        image_tokens: V', (B, P, e) patches, without a class token.
        text_tokens: T', (B, L, e).
        text_token_mask: (B, L) bool, True for words: not [CLS], [SEP] or padding.
        text_thresholds: (B, L), theta: above it a token gathers a patch.
        image_thresholds: (B, P), phi: above it a patch gathers a token.
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
    text_thresholds: torch.Tensor = ALWAYS_SET
    image_thresholds: torch.Tensor = ALWAYS_SET
    text_model_output: AmifEncoderOutput | None = None
    vision_model_output: AmifEncoderOutput | None = None


class AgaThresholdLayer(nn.Linear):
    """A gate's last layer, whose new weights are 0. A class of its own, by which `_init_weights` knows it."""


class AgaThresholdGate(nn.Module):
    """Thresholds of one modality's items, from each item and the mean of the other modality.

        sigmoid(logit(1 / number of the others) + g([item; mean of the others])), cut to 0.0001 .. 0.95

    The last layer of g begins at 0: training starts from SPARC's fixed threshold.
    """

    def __init__(self, config: AgaConfig) -> None:
        super().__init__()
        self.per_pair = config.gate == "per_pair"
        self.expand = nn.Linear(2 * config.group_size, config.group_size // 4)
        self.activation = nn.GELU()
        self.contract = AgaThresholdLayer(config.group_size // 4, 1)

    def forward(
        self, items: torch.Tensor, others: torch.Tensor, item_mask: torch.Tensor, other_mask: torch.Tensor
    ) -> torch.Tensor:
        """Thresholds (B, n) float32 of `items` (B, n, e) on `others` (B, m, e); in the masks True is valid."""
        means = _masked_mean(others, other_mask).unsqueeze(1)
        asked = _masked_mean(items, item_mask).unsqueeze(1) if self.per_pair else items
        read = torch.cat([asked, means.expand_as(asked)], dim=-1)
        learned = self.contract(self.activation(self.expand(read))).squeeze(-1).float()
        thresholds = (fixed_threshold(other_mask).logit() + learned).sigmoid()
        return thresholds.clamp(LOWEST_THRESHOLD, HIGHEST_THRESHOLD).expand(items.shape[:2])


class AgaForPreTraining(AmifDualEncoder):
    """Encoders and projections shared with AMiF, local adaptors of tokens and patches, if any, gates, temperatures."""

    config: AgaConfig
    config_class = AgaConfig
    initial_temperatures = (0.07, 0.07)

    def __init__(self, config: AgaConfig) -> None:
        super().__init__(config)
        self.model = AmifEncoders(config)
        adapts, sizes = config.local_adaptors, (config.hidden_size, config.group_size)
        self.image_adaptor = nn.Linear(*sizes) if adapts else nn.Identity()
        self.text_adaptor = nn.Linear(*sizes) if adapts else nn.Identity()
        learned = config.gate != "fixed"
        self.language_gate = AgaThresholdGate(config) if learned else None
        self.vision_gate = AgaThresholdGate(config) if learned else None
        self.log_temperatures = nn.Parameter(torch.empty(len(self.initial_temperatures)))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AgaThresholdLayer):
            init.zeros_(module.weight)
            init.zeros_(module.bias)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        return_loss: bool | None = None,
    ) -> AgaPreTrainingOutput:
        """Embed pairs, their tokens and patches, and give each of these its threshold.

        Args:
            pixel_values: (B, channels, height, width) float.
            input_ids: (B, t) int64 tokens of the reports.
            attention_mask: (B, t), 1 where a token is valid; None where all are.
            output_attentions: Return the encoders' attention weights; needs the eager attention implementation.
            output_hidden_states: Return the encoders' hidden states.
            inputs_embeds: (B, t, text width), in place of `input_ids`.
            token_type_ids: (B, t) int64, for text encoders that have such types.
            interpolate_pos_encoding: Read images of another size than the configured.
            return_loss: Return the loss of whole images and reports.

        Raises:
            ValueError: If there is not one image for each report.
        """
        texts = {"input_ids": input_ids, "attention_mask": attention_mask}
        texts |= {"inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids}
        kept, size = (output_attentions, output_hidden_states), interpolate_pos_encoding
        image, text, mask, outputs = self._read(pixel_values, texts, *kept, interpolate_pos_encoding=size)
        words = word_mask(mask)
        # Every image of a batch has its class token, if any, at the same place.
        image_tokens = self.image_adaptor(image[:, patch_mask(image)[0]])
        text_tokens = self.text_adaptor(text)
        patches = torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=image.device)
        if self.language_gate is None or self.vision_gate is None:
            text_thresholds = fixed_threshold(patches).expand(text_tokens.shape[:2])
            image_thresholds = fixed_threshold(words).expand(image_tokens.shape[:2])
        else:
            text_thresholds = self.language_gate(text_tokens, image_tokens, words, patches)
            image_thresholds = self.vision_gate(image_tokens, text_tokens, patches, words)
        image_embeds, text_embeds = self._embed_image_states(image), self._embed_text_states(text, mask)
        return AgaPreTrainingOutput(
            loss=contrastive_loss(image_embeds, text_embeds, self.temperatures[0]) if return_loss else None,
            image_embeds=image_embeds.unsqueeze(0),
            text_embeds=text_embeds,
            temperatures=self.temperatures,
            image_tokens=image_tokens,
            text_tokens=text_tokens,
            text_token_mask=words,
            text_thresholds=text_thresholds,
            image_thresholds=image_thresholds,
            **outputs,
        )


def fixed_threshold(mask: torch.Tensor) -> torch.Tensor:
    """SPARC's threshold (B, 1), 1 / number of valid items of (B, m), float32, cut as learned ones are."""
    return (1 / mask.sum(dim=1, keepdim=True).clamp(min=1)).clamp(LOWEST_THRESHOLD, HIGHEST_THRESHOLD)


def _masked_mean(items: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, e) of (B, n, e) over what is valid; 0 where nothing is."""
    items = items.masked_fill(~mask.unsqueeze(-1), 0)
    return items.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


AgaForPreTraining.register_for_auto_class("AutoModel")
