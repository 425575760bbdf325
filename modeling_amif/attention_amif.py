"""Attention and feed-forward parts shared by co-attention and knowledge fusion."""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_amif import AmifConfig


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain attention that returns its weights.

    Args:
        module: The attention module; tells whether dropout is on.
        query: (batch, heads, queries, head width).
        key: (batch, heads, keys, head width).
        value: Like `key`.
        attention_mask: Broadcastable to (batch, heads, queries, keys), added to the scores; None attends everywhere.
        scaling: Factor on the scores.
        dropout: Probability of dropping a weight while training.
        **kwargs: Ignored; other attention implementations take more.

    Returns:
        The output (batch, queries, heads, head width) and the weights (batch, heads, queries, keys).
    """
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights


def rows_at(tensor: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    """The rows of `tensor` (n, ...) that `index` (batch,) names; all of them, in their order, without an index."""
    return tensor if index is None else tensor.index_select(0, index)


class AmifAttention(nn.Module):
    """Multi-head attention of one sequence over another, or over itself."""

    is_causal = False

    def __init__(self, config: AmifConfig, dropout: float) -> None:
        super().__init__()
        self.config = config
        self.head_size = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.dropout = dropout
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        context: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        keep_weights: bool = True,
        context_index: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from `hidden_states` (batch, queries, d) to `context` (batch, keys, d).

        Args:
            hidden_states: The queries' states.
            context: The states of keys and values.
            attention_mask: Broadcastable to (batch, heads, queries, keys); None attends everywhere.
            keep_weights: Without it eager attention gives way to sdpa, whose memory does not grow with queries x keys.
            context_index: (batch,) int64, the row of `context` that each reads; None where row i is read by i.

        Returns:
            States (batch, queries, d), and the weights (batch, heads, queries, keys) where the implementation is eager.
        """
        implementation = self.config._attn_implementation or "eager"
        if implementation == "eager" and not keep_weights:
            implementation = "sdpa"
        dropout = self.dropout if self.training else 0.0
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        if implementation == "sdpa" and dropout and hidden_states.device.type == "cpu":
            # There sdpa with dropout keeps weights of queries x keys for the backward pass: make them anew in it.
            attend = partial(checkpoint, attend, use_reentrant=False)
        states, weights = attend(
            self,
            self._heads(self.query(hidden_states)),
            self._heads(rows_at(self.key(context), context_index)),
            self._heads(rows_at(self.value(context), context_index)),
            attention_mask,
            scaling=self.scaling,
            dropout=dropout,
        )
        return self.output(states.flatten(2)), weights

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (-1, self.head_size)).transpose(1, 2)


class AmifFeedForward(nn.Module):
    """Two linear layers with an activation between them, on (..., d)."""

    def __init__(self, config: AmifConfig, activation: str) -> None:
        super().__init__()
        self.expand = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[activation]
        self.contract = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Transform each position of `hidden_states` (..., d) by itself."""
        return self.contract(self.activation(self.expand(hidden_states)))
