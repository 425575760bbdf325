"""Building the encoders and the decoder; token states of any image encoder."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    Cache,
    PreTrainedConfig,
    PreTrainedModel,
)

from .configuration_amif import VISIBLE_PATCH_ENCODERS, AmifConfig
from .model_outputs_amif import AmifEncoderOutput


def build_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """An encoder with new weights. A pooling head is left out: it would never be trained nor used.

    Raises:
        ValueError: If the encoder reads a random part of each image, or patches that a processor of its own cut.
    """
    if config.model_type == "vit_mae":
        raise ValueError(
            "The image encoder 'vit_mae' reads a random part of each image, in evaluation too; load its weights as a "
            "ViT (ViTModel.from_pretrained) and save those."
        )
    if config.model_type == "siglip2_vision_model":
        raise ValueError(
            "The image encoder 'siglip2_vision_model' (NaFlex) reads patches that its own processor cuts; use a SigLIP "
            "2 of one image size, such as google/siglip2-base-patch16-224."
        )
    for switch in ("vision_use_head", "use_head"):  # SigLIP's, AIMv2's
        if hasattr(config, switch):
            setattr(config, switch, False)
    encoder = AutoModel.from_config(config, trust_remote_code=False)
    if isinstance(getattr(encoder, "pooler", None), nn.Module):
        encoder.pooler = None
    return encoder


def build_decoder(config: AmifConfig) -> PreTrainedModel:
    """A causal language model with new weights whose last half of layers reads the encoder states (section 3.4.2).

    Raises:
        ValueError: If the decoder's layers, positions or output layer are not BERT's.
    """
    refusal = (
        f"Decoder type {config.decoder_config.model_type!r} is not BERT-like; use e.g. 'bert' or 'roberta'. Beside a "
        "text encoder of another type, name a decoder of its own with the same vocabulary."
    )
    if type(config.decoder_config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(refusal)
    decoder = AutoModelForCausalLM.from_config(config.decoder_config, trust_remote_code=False)
    layers: Sequence[Any] = getattr(getattr(decoder.base_model, "encoder", None), "layer", ())
    reads_encoder = all(hasattr(layer, "crossattention") for layer in layers[:1])
    takes_positions = "position_ids" in inspect.signature(decoder.base_model.forward).parameters
    has_head = hasattr(decoder, "cls") or hasattr(decoder, "lm_head")
    if not (layers and reads_encoder and takes_positions and has_head):
        raise ValueError(refusal)
    for layer in layers[: len(layers) // 2]:
        del layer.crossattention
        layer.is_decoder = False
    return decoder


def cache_option(decoder: PreTrainedModel, cache: Cache) -> dict[str, Cache]:
    """Keys and values to go on from, under the name that this release of transformers has for them."""
    names = inspect.signature(decoder.base_model.forward).parameters
    return {"cache" if "cache" in names else "past_key_values": cache}


def read_images(
    vision_model: PreTrainedModel,
    pixel_values: torch.Tensor,
    pooling: int,
    layers: Sequence[int] | None = None,
    **options: Any,
) -> AmifEncoderOutput:
    """Token states of images: class token, if there is one, then patches.

    Args:
        vision_model: Any image encoder of transformers that returns `last_hidden_state` of shape (U, tokens, width).
        pixel_values: (U, channels, height, width).
        pooling: Side of the square of patches that is averaged into one; 1 keeps all.
        layers: Which hidden states are read, side by side; None reads the encoder's `last_hidden_state`.
        **options: Further arguments of the encoder, such as `output_hidden_states`.

    Returns:
        `last_hidden_state` (U, tokens, width, or as many widths as `layers`), without registers, which stand for no
        place; hidden states and attentions where asked for, as the encoder has them.

    Raises:
        ValueError: If the encoder has no token states, those of `layers` differ in shape, or the patches are not a
            square grid that `pooling` divides.
    """
    wanted = options if layers is None else {**options, "output_hidden_states": True}
    output = vision_model(pixel_values=pixel_values, **wanted)
    states = output.last_hidden_state
    if states.dim() != 3:
        raise ValueError(
            f"{type(vision_model).__name__} returns states of shape {tuple(states.shape)}, not (images, tokens, "
            "width); use a transformer encoder such as ViT, CLIP or DINOv2."
        )
    if hasattr(vision_model, "post_layernorm") and hasattr(vision_model, "pre_layrnorm"):
        # CLIP normalises its pooled token only; AMiF reads every token, so every token is normalised.
        states = vision_model.get_submodule("post_layernorm")(states)
    if layers is not None:
        states = _side_by_side(vision_model, (*output.hidden_states[:-1], states), layers)
    if registers := getattr(vision_model.config, "num_register_tokens", 0):
        states = torch.cat([states[:, :1], states[:, 1 + registers :]], dim=1)
    if pooling > 1:
        grid, extra = square_grid(states.shape[1])
        if grid % pooling:
            raise ValueError(f"image_pooling={pooling} does not divide the grid of {grid} x {grid} patches.")
        patches = states[:, extra:].transpose(1, 2).unflatten(2, (grid, grid))
        pooled = nn.functional.avg_pool2d(patches, pooling).flatten(2).transpose(1, 2)
        states = torch.cat([states[:, :extra], pooled], dim=1)
    return AmifEncoderOutput(
        last_hidden_state=states,
        hidden_states=getattr(output, "hidden_states", None) if options.get("output_hidden_states") else None,
        attentions=getattr(output, "attentions", None),
    )


def _side_by_side(
    vision_model: PreTrainedModel, hidden_states: Sequence[torch.Tensor], layers: Sequence[int]
) -> torch.Tensor:
    """Hidden states of some places, each normalised, for their scales differ, as one of all their widths."""
    chosen = [hidden_states[place] for place in layers]
    if any(states.shape != hidden_states[-1].shape for states in chosen):
        raise ValueError(
            f"{type(vision_model).__name__} has hidden states of the shapes {[tuple(one.shape) for one in chosen]} at "
            f"vision_feature_layer={list(layers)}: choose some of one shape."
        )
    return torch.cat([nn.functional.layer_norm(states, states.shape[-1:]) for states in chosen], dim=-1)


def read_visible_patches(
    vision_model: PreTrainedModel,
    pixel_values: torch.Tensor,
    visible_patches: torch.Tensor,
    layers: Sequence[int] | None = None,
    **options: Any,
) -> AmifEncoderOutput:
    """Token states of images of which only some patches are read; the others enter no block and cost nothing.

    Args:
        vision_model: One of `VISIBLE_PATCH_ENCODERS`.
        pixel_values: (U, channels, height, width).
        visible_patches: (U, v) int64, the places in reading order of each image's visible patches.
        layers: As in `read_images`.
        **options: Further arguments of the encoder, such as `output_hidden_states`.

    Returns:
        As `read_images`: (U, v, width), or (U, 1 + v, width) with a class token. Each patch has its true position
        embedding.

    Raises:
        ValueError: If the encoder is none of them.
    """
    if vision_model.config.model_type not in VISIBLE_PATCH_ENCODERS:
        raise ValueError(
            f"The image encoder {vision_model.config.model_type!r} cannot read a part of the patches; use one of "
            f"{VISIBLE_PATCH_ENCODERS}."
        )

    def keep_visible(module: nn.Module, args: tuple, states: torch.Tensor) -> torch.Tensor:
        """States (U, n, width) without the hidden patches; a class token stays in front."""
        extra = int(has_class_token(states.shape[1]))
        class_token, patches = states[:, :extra], states[:, extra:]
        places = visible_patches.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        return torch.cat([class_token, patches.gather(1, places)], dim=1)

    hook = vision_model.get_submodule("embeddings").register_forward_hook(keep_visible)
    try:
        return read_images(vision_model, pixel_values, 1, layers, **options)
    finally:
        hook.remove()


def has_class_token(num_tokens: int) -> bool:
    """Whether so many token states of an image are a class token and a square grid, rather than the grid alone."""
    return square_grid(num_tokens)[1] == 1


def square_grid(num_positions: int) -> tuple[int, int]:
    """The side of a square grid of patches, and 1 where a class token stands before it, else 0.

    Raises:
        ValueError: If `num_positions` is not such a number.
    """
    grid = math.isqrt(num_positions)
    extra = num_positions - grid * grid
    if extra > 1:
        raise ValueError(f"{num_positions} positions are not a square grid of patches with at most one class token.")
    return grid, extra
