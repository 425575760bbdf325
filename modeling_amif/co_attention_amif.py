"""Modality Co-Attention Module (section 3.1 and figure 2c of arXiv 2510.08791)."""

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention_amif import AmifAttention, AmifFeedForward, rows_at
from .configuration_amif import AmifConfig

TEXT, IMAGE = 0, 1
ATTENTIONS = ("text_attentions", "text_to_image_attentions", "image_attentions", "image_to_text_attentions")


class AmifCoAttentionLayer(GradientCheckpointingLayer):
    """One layer of one stack: self-attention, attention over the other modality, feed-forward; all post-normalised."""

    def __init__(self, config: AmifConfig) -> None:
        super().__init__()
        self.self_attention = AmifAttention(config, config.attention_probs_dropout_prob)
        self.self_attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_attention = AmifAttention(config, config.attention_probs_dropout_prob)
        self.cross_attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = AmifFeedForward(config, config.hidden_act)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: torch.Tensor,
        other_states: torch.Tensor,
        mask: torch.Tensor | None,
        other_mask: torch.Tensor | None,
        index: torch.Tensor | None = None,
        other_index: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Update `hidden_states` (batch, n, d) from itself and from `other_states` (batch, m, d).

        With `index` and `other_index` (batch,) these hold each sequence once, and the indices say whose it is. What
        depends on one of them alone is then computed once for each.

        Returns:
            The new states (batch, n, d), and the weights of self- and of cross-attention where they are kept.
        """
        attended, self_weights = self.self_attention(hidden_states, hidden_states, mask)
        hidden_states = rows_at(self.self_attention_norm(hidden_states + self.dropout(attended)), index)
        attended, cross_weights = self.cross_attention(
            hidden_states, other_states, other_mask, context_index=other_index
        )
        hidden_states = self.cross_attention_norm(hidden_states + self.dropout(attended))
        transformed = self.feed_forward(hidden_states)
        return self.feed_forward_norm(hidden_states + self.dropout(transformed)), self_weights, cross_weights


class AmifCoAttention(nn.Module):
    """Two stacks of layers, text and image, that read each other's states of the layer before (parallel update)."""

    def __init__(self, config: AmifConfig) -> None:
        super().__init__()
        self.config = config
        self.modality_embedding = nn.Embedding(2, config.hidden_size)
        self.text_layers = nn.ModuleList(AmifCoAttentionLayer(config) for _ in range(config.num_co_attention_layers))
        self.image_layers = nn.ModuleList(AmifCoAttentionLayer(config) for _ in range(config.num_co_attention_layers))

    def forward(
        self,
        text_states: torch.Tensor,
        image_states: torch.Tensor,
        text_mask: torch.Tensor | None = None,
        image_mask: torch.Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        text_index: torch.Tensor | None = None,
        image_index: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, tuple[torch.Tensor, ...]]]:
        """Let text and image read each other through all layers.

        Args:
            text_states: (batch, t, d); with `text_index` (texts, t, d).
            image_states: (batch, p, d); with `image_index` (images, p, d).
            text_mask: (batch, t), 1 or True where the text token is valid; None where all are. With `text_index`
                (texts, t).
            image_mask: (batch, p), the same of the image tokens; not with `image_index`.
            output_attentions: Return the attention weights too, which an eager implementation alone has.
            output_hidden_states: Return what enters the first layer and leaves each.
            text_index: (batch,) int64, the text that each pair reads; None where row i is pair i's.
            image_index: (batch,) int64, the same of the images.

        Returns:
            Text states (batch, t, d), image states (batch, p, d), and by name what was asked for: `text_attentions`,
            `text_to_image_attentions`, `image_attentions`, `image_to_text_attentions`, of each layer
            (batch, heads, queries, keys); `hidden_states`, each (batch, t + p, d).
        """
        text = self._with_modality(text_states, TEXT)
        image = self._with_modality(image_states, IMAGE)
        every_text = rows_at(text, text_index)
        every_mask = None if text_mask is None else rows_at(text_mask, text_index)
        if output_attentions or output_hidden_states or self._reads_at_random() or not len(self.text_layers):
            text, text_mask, image = every_text, every_mask, rows_at(image, image_index)
            text_index = image_index = None
        text_to_text = create_bidirectional_mask(self.config, text, text_mask)
        image_to_text = create_bidirectional_mask(self.config, image, every_mask, encoder_hidden_states=every_text)
        image_to_image = text_to_image = None
        if image_mask is not None:
            image_to_image = create_bidirectional_mask(self.config, image, image_mask)
            text_to_image = create_bidirectional_mask(self.config, text, image_mask, encoder_hidden_states=image)
        weights, hidden_states = [], [torch.cat([text, image], dim=1)] if output_hidden_states else []
        for text_layer, image_layer in zip(self.text_layers, self.image_layers, strict=True):
            new_text, *text_weights = text_layer(text, image, text_to_text, text_to_image, text_index, image_index)
            new_image, *image_weights = image_layer(image, text, image_to_image, image_to_text, image_index, text_index)
            text, image = new_text, new_image
            if text_index is not None:
                text_to_text = create_bidirectional_mask(self.config, text, every_mask)
            text_index = image_index = None  # from now on each pair has states of its own
            if output_attentions:
                weights.append((*text_weights, *image_weights))
            if output_hidden_states:
                hidden_states.append(torch.cat([text, image], dim=1))
        extras = dict(zip(ATTENTIONS, zip(*weights, strict=True), strict=True)) if output_attentions else {}
        return text, image, extras | ({"hidden_states": tuple(hidden_states)} if output_hidden_states else {})

    def fuse_alike(
        self,
        modality: int,
        first_states: torch.Tensor,
        second_states: torch.Tensor,
        first_mask: torch.Tensor | None = None,
        second_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Let two sequences of one modality read each other, both through that modality's stack (section 3.3).

        Args:
            modality: `TEXT` or `IMAGE`.
            first_states: (batch, n, d).
            second_states: (batch, m, d).
            first_mask: (batch, n), 1 or True where a token is valid; None where all are.
            second_mask: (batch, m).

        Returns:
            The states (batch, n, d) and (batch, m, d).
        """
        first = self._with_modality(first_states, modality)
        second = self._with_modality(second_states, modality)
        first_to_first = create_bidirectional_mask(self.config, first, first_mask)
        second_to_second = create_bidirectional_mask(self.config, second, second_mask)
        first_to_second = create_bidirectional_mask(self.config, first, second_mask, encoder_hidden_states=second)
        second_to_first = create_bidirectional_mask(self.config, second, first_mask, encoder_hidden_states=first)
        for layer in self.text_layers if modality == TEXT else self.image_layers:
            new_first, *_ = layer(first, second, first_to_first, first_to_second)
            second, *_ = layer(second, first, second_to_second, second_to_first)
            first = new_first
        return first, second

    def _reads_at_random(self) -> bool:
        """Whether dropout makes two readings of one thing differ."""
        return self.training and bool(self.config.hidden_dropout_prob or self.config.attention_probs_dropout_prob)

    def _with_modality(self, states: torch.Tensor, modality: int) -> torch.Tensor:
        # Through the module, whose weight may be elsewhere until it is called.
        return states + self.modality_embedding(torch.full((1,), modality, device=states.device))
