"""MPMA's fusion and reconstruction: memory that both modalities read, report layers that ask the image, two decoders.

The abstract names memory-augmented cross-modal fusion, which brings visual information into the reconstruction of the
report. Size and form of memory and layers are our reading, after R2GenCMN's shared memory and MAE's decoder.
"""

import copy
import math

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention_amif import AmifAttention
from .co_attention_amif import AmifCoAttentionLayer
from .configuration_mpma_amif import MpmaConfig


class MpmaMemory(AmifAttention):
    """Attention of any state over rows of a learned memory; the same rows and projections for both modalities."""

    def __init__(self, config: MpmaConfig) -> None:
        super().__init__(config, dropout=0.0)
        self.top_k = config.memory_top_k
        self.memory = nn.Parameter(torch.empty(config.memory_size, config.hidden_size))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """What the memory answers to each state of (B, n, d), of the same shape."""
        memory = self.memory.unsqueeze(0).to(hidden_states.dtype)
        query = self._heads(self.query(hidden_states))
        # Projected once, whatever the batch.
        key, value = (self._heads(part(memory)).expand(query.shape[0], -1, -1, -1) for part in (self.key, self.value))
        mask = None
        if self.top_k:
            # True for the rows that each head of each state finds most similar.
            scores = query @ key.transpose(2, 3)
            nearest = scores.topk(self.top_k, dim=-1).indices
            mask = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, nearest, True)
        states = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scaling)
        return self.output(states.transpose(1, 2).flatten(2))


class MpmaFusion(nn.Module):
    """Memory-augmented cross-modal fusion: both modalities read the memory, then the report reads the image."""

    def __init__(self, config: MpmaConfig) -> None:
        super().__init__()
        self.config = config
        self.memory = MpmaMemory(config) if config.memory_size else None
        self.image_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.text_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        num_layers = config.num_fusion_layers if config.fusion == "attention" else 0
        self.layers = nn.ModuleList(AmifCoAttentionLayer(config) for _ in range(num_layers))

    def forward(self, image_states: torch.Tensor, text_states: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
        """Fuse `image_states` (B, v, d) and `text_states` (B, t, d), whose valid tokens `text_mask` (B, t) says.

        Returns:
            Z (B, t, d), the report after reading the image.
        """
        image = self.image_norm(self._with_memory(image_states))
        text = self.text_norm(self._with_memory(text_states))
        if self.config.fusion == "addition":
            text = text + image.mean(dim=1, keepdim=True)
        mask = create_bidirectional_mask(self.config, text, text_mask)
        for layer in self.layers:
            text, *_ = layer(text, image, mask, None)
        return text

    def _with_memory(self, states: torch.Tensor) -> torch.Tensor:
        return states if self.memory is None else states + self.memory(states)


class MpmaSelfAttention(nn.Module):
    """Self-attention with one projection for queries, keys and values; its weights are read in its forward alone."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.out_proj = nn.Linear(width, width)
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * width, width)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Let each of `states` (B, n, width) read all."""
        projected = nn.functional.linear(states, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class MpmaDecoderLayer(GradientCheckpointingLayer):
    """Pre-normalised self-attention and feed-forward part."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn = MpmaSelfAttention(width, num_heads)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Update `states` (B, n, width)."""
        states = states + self.self_attn(self.norm1(states))
        return states + self.linear2(nn.functional.gelu(self.linear1(self.norm2(states))))


class MpmaDecoderBlocks(nn.Module):
    """Layers and a norm, named as in `nn.TransformerEncoder`, which earlier checkpoints were saved from.

    That class reads its layers' weights outside their forward: quantised and offloaded layers have none there.
    """

    def __init__(self, width: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        layer = MpmaDecoderLayer(width, num_heads)
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Update `states` (B, n, width)."""
        for layer in self.layers:
            states = layer(states)
        return self.norm(states)


class MpmaImageDecoder(nn.Module):
    """Predicts the normalised pixels of every patch from the visible ones, as MAE's decoder does."""

    def __init__(self, config: MpmaConfig, num_patches: int) -> None:
        super().__init__()
        width, patch = config.image_decoder_size, config.vision_config.patch_size
        self.embed = nn.Linear(config.hidden_size, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.position_embeddings = nn.Parameter(torch.empty(num_patches, width))
        self.blocks = MpmaDecoderBlocks(width, config.image_decoder_heads, config.image_decoder_layers)
        self.predict = nn.Linear(width, config.vision_config.num_channels * patch * patch)

    def forward(self, image_states: torch.Tensor, visible_patches: torch.Tensor) -> torch.Tensor:
        """Predictions (B, P, channels x side x side) in reading order.

        Args:
            image_states: (B, v, d), or (B, 1 + v, d) with a class token.
            visible_patches: (B, v) int64, the places of the visible patches.
        """
        states = self.embed(image_states)
        extra = states.shape[1] - visible_patches.shape[1]
        places = visible_patches.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        patches = self.mask_token.to(states.dtype).expand(states.shape[0], len(self.position_embeddings), -1)
        patches = patches.scatter(1, places, states[:, extra:]) + self.position_embeddings
        decoded = self.blocks(torch.cat([states[:, :extra], patches], dim=1))
        return self.predict(decoded[:, extra:])


class MpmaTokenLayer(nn.Linear):
    """Predicts tokens with the text encoder's word embeddings, to which `MpmaForPreTraining` ties it."""

    def reset_parameters(self) -> None:
        """Draw nothing: what is tied would be drawn for nothing, and move all that is drawn after it."""


class MpmaReportHead(nn.Module):
    """Predicts tokens from fused states; its last weight is the text encoder's word embeddings."""

    def __init__(self, config: MpmaConfig, embedding_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(config.hidden_size, embedding_size)
        self.activation = ACT2FN[config.hidden_act]
        self.norm = nn.LayerNorm(embedding_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.empty(config.text_config.vocab_size))
        self.decoder: nn.Linear = MpmaTokenLayer(embedding_size, config.text_config.vocab_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Logits (..., vocabulary) of `states` (..., d)."""
        return self.decoder(self.norm(self.activation(self.transform(states))))


def grid_positions(num_patches: int, width: int) -> torch.Tensor:
    """Sines and cosines of row and column of each patch of a square grid, (P, width); what positions start from."""
    grid = math.isqrt(num_patches)
    frequencies = 10_000 ** (-torch.arange(width // 4) / (width // 4))
    angles = torch.arange(grid).unsqueeze(1) * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([waves.repeat_interleave(grid, dim=0), waves.repeat(grid, 1)], dim=1)
