"""Gated Cross-Attention Module: prior knowledge selected into the joint states (section 3.4.1, equations 14-16)."""

import torch
from torch import nn

from .attention_amif import AmifAttention, AmifFeedForward
from .configuration_amif import AmifConfig


class AmifKnowledgeFusion(nn.Module):
    """Fuses a vocabulary of answers or questions into image-question states.

    The module holds no embedding table: it is given the vocabulary's word embeddings. The vocabulary depends on neither
    image nor question, so it is one sequence for the whole batch, never copied per example. Attention weights over it
    are not dropped out, so that the fused kernels, whose memory grows with the vocabulary and not with its square,
    can always be used.
    """

    def __init__(self, config: AmifConfig, embedding_size: int) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.embedding_projection = nn.Linear(embedding_size, size) if embedding_size != size else nn.Identity()
        self.embedding_norm = nn.LayerNorm(size, eps=eps)
        self.self_attention = AmifAttention(config, dropout=0.0)
        self.self_attention_norm = nn.LayerNorm(size, eps=eps)
        self.knowledge_feed_forward = AmifFeedForward(config, "relu")
        self.knowledge_norm = nn.LayerNorm(size, eps=eps)
        self.cross_attention = AmifAttention(config, dropout=0.0)
        self.gate = nn.Linear(size, size) if config.knowledge_fusion == "gated" else None
        self.feed_forward = AmifFeedForward(config, "relu")
        self.output_norm = nn.LayerNorm(size, eps=eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def encode_knowledge(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Pass the vocabulary's word embeddings (M, embedding size) through self-attention and feed-forward.

        Returns:
            F_p, the knowledge states (1, M, d).
        """
        states = self.embedding_norm(self.embedding_projection(embeddings)).unsqueeze(0)
        attended, _ = self.self_attention(states, states, keep_weights=False)
        states = self.self_attention_norm(states + self.dropout(attended))
        return self.knowledge_norm(states + self.dropout(self.knowledge_feed_forward(states)))

    def forward(
        self, joint_states: torch.Tensor, knowledge_states: torch.Tensor, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Fuse the knowledge into the joint states.

        Args:
            joint_states: F, (batch, s, d).
            knowledge_states: F_p of `encode_knowledge`, (1, M, d).
            output_attentions: Keep the weights over the vocabulary; needs the eager attention implementation.

        Returns:
            F' (batch, s, d); the gate's values (batch, s, d), None without a gate; and the attention weights over the
            vocabulary (batch, heads, s, M), None unless asked for.
        """
        # All rows of the batch are queries of one example, so that keys and values exist once.
        queries = joint_states.flatten(0, 1).unsqueeze(0)
        attended, weights = self.cross_attention(queries, knowledge_states, keep_weights=output_attentions)
        fused = self.dropout(attended).view_as(joint_states) + joint_states  # equation 14
        gate = None
        if self.gate is not None:
            gate = self.gate(fused).sigmoid()  # equation 15
            fused = gate * fused + (1 - gate) * joint_states  # equation 16
        output = self.output_norm(fused + self.dropout(self.feed_forward(fused)))
        if weights is not None:
            weights = weights.squeeze(0).unflatten(1, joint_states.shape[:2]).transpose(0, 1)
        return output, gate, weights
