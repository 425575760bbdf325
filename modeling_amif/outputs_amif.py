"""What the networks return."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class AmifModelOutput(ModelOutput):
    """Joint states of images and texts.

    Args:
        last_hidden_state: F, (B, t + p, d): text tokens first, then image tokens.
        attention_mask: (B, t + p) int64, 1 where a joint state is valid.
        text_attentions: Per layer (B, heads, t, t); this and the next three only with `output_attentions=True`.
        text_to_image_attentions: Per layer (B, heads, t, p), rows are text tokens.
        image_attentions: Per layer (B, heads, p, p).
        image_to_text_attentions: Per layer (B, heads, p, t), rows are image tokens.
    """

    last_hidden_state: torch.FloatTensor | None = None
    attention_mask: torch.LongTensor | None = None
    text_attentions: tuple[torch.FloatTensor, ...] | None = None
    text_to_image_attentions: tuple[torch.FloatTensor, ...] | None = None
    image_attentions: tuple[torch.FloatTensor, ...] | None = None
    image_to_text_attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class AmifVisualQuestionAnsweringOutput(ModelOutput):
    """Answer logits and what led to them.

    Args:
        loss: Scalar: negative log-likelihood (nats) summed over an answer's tokens, averaged over the batch.
        logits: (B, T, vocabulary): position i predicts token i + 1 of `labels`; without labels T is 1, the first token.
        joint_states: What the decoder reads, F' (B, t + p, decoder width).
        attention_mask: (B, t + p) int64, 1 where a joint state is valid.
        gate: The gate's values (B, t + p, d) in (0, 1); this and the rest only with `output_attentions=True`.
        knowledge_attentions: (B, heads, t + p, M), attention over the knowledge vocabulary.
        text_attentions: As in `AmifModelOutput`, like the next three.
        text_to_image_attentions: Per layer (B, heads, t, p).
        image_attentions: Per layer (B, heads, p, p).
        image_to_text_attentions: Per layer (B, heads, p, t).
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    joint_states: torch.FloatTensor | None = None
    attention_mask: torch.LongTensor | None = None
    gate: torch.FloatTensor | None = None
    knowledge_attentions: torch.FloatTensor | None = None
    text_attentions: tuple[torch.FloatTensor, ...] | None = None
    text_to_image_attentions: tuple[torch.FloatTensor, ...] | None = None
    image_attentions: tuple[torch.FloatTensor, ...] | None = None
    image_to_text_attentions: tuple[torch.FloatTensor, ...] | None = None


__all__ = ["AmifModelOutput", "AmifVisualQuestionAnsweringOutput"]
