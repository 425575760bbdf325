"""What AMiF's models return: joint states, answers to questions and their loss."""

from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import nn
from transformers.utils.generic import ModelOutput

# `ModelOutput` wants None as every field's default, also of those that are never None.
ALWAYS_SET: Any = None


class Kept(TypedDict, total=False):
    """What an output holds beside, as the encoders' forward takes it; what is not asked for is not there."""

    output_attentions: bool
    output_hidden_states: bool


@dataclass
class AmifEncoderOutput(ModelOutput):
    """What one of the two encoders read.

    Args:
        last_hidden_state: (rows, tokens, the encoder's width).
        hidden_states: The same before the first layer and after each; only where asked for, like the next.
        attentions: Per layer (rows, heads, tokens, tokens).
    """

    last_hidden_state: torch.Tensor = ALWAYS_SET
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class EncoderOutputs(TypedDict, total=False):
    """Of both encoders, as the models' outputs hold them; empty where nothing of them is to be kept."""

    text_model_output: AmifEncoderOutput
    vision_model_output: AmifEncoderOutput


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
        hidden_states: Joint states (B, t + p, d) before the co-attention and after each of its layers; this only with
            `output_hidden_states=True`.
        text_model_output: The text encoder's output with its own hidden states and attentions; this and the next only
            where one of the two is asked for.
        vision_model_output: The image encoder's; None where `image_states` were given.
    """

    last_hidden_state: torch.Tensor = ALWAYS_SET
    attention_mask: torch.Tensor = ALWAYS_SET
    text_attentions: tuple[torch.Tensor, ...] | None = None
    text_to_image_attentions: tuple[torch.Tensor, ...] | None = None
    image_attentions: tuple[torch.Tensor, ...] | None = None
    image_to_text_attentions: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    text_model_output: AmifEncoderOutput | None = None
    vision_model_output: AmifEncoderOutput | None = None


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
        hidden_states: As in `AmifModelOutput`, like the next two.
        text_model_output: The text encoder's output.
        vision_model_output: The image encoder's output.
        decoder_hidden_states: The decoder's states, (B, T, decoder width), before its first layer and after each.
        decoder_attentions: Per decoder layer (B, heads, T, T).
        cross_attentions: Per decoder layer that reads the joint states (B, heads, T, t + p).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor = ALWAYS_SET
    joint_states: torch.Tensor = ALWAYS_SET
    attention_mask: torch.Tensor = ALWAYS_SET
    gate: torch.Tensor | None = None
    knowledge_attentions: torch.Tensor | None = None
    text_attentions: tuple[torch.Tensor, ...] | None = None
    text_to_image_attentions: tuple[torch.Tensor, ...] | None = None
    image_attentions: tuple[torch.Tensor, ...] | None = None
    image_to_text_attentions: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    text_model_output: AmifEncoderOutput | None = None
    vision_model_output: AmifEncoderOutput | None = None
    decoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    decoder_attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


def answer_loss(
    logits: torch.Tensor, labels: torch.Tensor, pad_token_id: int, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Negative log-likelihood of answers, summed over an answer's tokens and averaged over the batch (section 3.4.2).

    Args:
        logits: (B, T, vocabulary), position i predicts token i + 1.
        labels: (B, T) int64; the first token is never predicted, `pad_token_id` and -100 are not counted.
        pad_token_id: The padding token.
        label_smoothing: Share of each target that is spread evenly over the vocabulary.

    Returns:
        Scalar float32, in nats.
    """
    targets = labels[:, 1:].masked_fill(labels[:, 1:] == pad_token_id, -100)
    predictions = logits[:, :-1].flatten(0, 1).float()
    loss = nn.functional.cross_entropy(predictions, targets.flatten(), reduction="sum", label_smoothing=label_smoothing)
    return loss / labels.shape[0]
