"""Building and loading the encoders and the decoder; token states of any image encoder."""

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, Cache, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from .configuration_amif import AmifConfig

logger = logging.get_logger(__name__)

# Encoders whose blocks know a patch's place from its embedding alone: patches can be left out before the blocks.
VISIBLE_PATCH_ENCODERS = ("vit", "clip_vision_model", "dinov2", "siglip_vision_model")


def build_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """An encoder with new weights. A pooling head is left out: it would never be trained nor used.

    Raises:
        ValueError: If the encoder reads a random part of each image.
    """
    if config.model_type == "vit_mae":
        raise ValueError(
            "The image encoder 'vit_mae' reads a random part of each image, in evaluation too; load its weights as a "
            "ViT (ViTModel.from_pretrained) and save those."
        )
    for switch in ("vision_use_head", "use_head"):  # SigLIP's, AIMv2's
        if hasattr(config, switch):
            setattr(config, switch, False)
    encoder = AutoModel.from_config(config)
    if isinstance(getattr(encoder, "pooler", None), nn.Module):
        encoder.pooler = None
    return encoder


def build_decoder(config: AmifConfig) -> PreTrainedModel:
    """A causal language model with new weights whose last half of layers reads the encoder states (section 3.4.2).

    Raises:
        ValueError: If the decoder's layers, positions or output layer are not BERT's.
    """
    decoder = AutoModelForCausalLM.from_config(config.decoder_config)
    encoder = getattr(decoder.base_model, "encoder", None)
    has_layers = hasattr(encoder, "layer") and hasattr(encoder.layer[0], "crossattention")
    takes_positions = "position_ids" in inspect.signature(decoder.base_model.forward).parameters
    if not (has_layers and takes_positions and (hasattr(decoder, "cls") or hasattr(decoder, "lm_head"))):
        raise ValueError(
            f"Decoder type {config.decoder_config.model_type!r} is not BERT-like; use e.g. 'bert' or 'roberta'."
        )
    for layer in encoder.layer[: len(encoder.layer) // 2]:
        del layer.crossattention
        layer.is_decoder = False
    return decoder


def cache_option(decoder: PreTrainedModel, cache: Cache) -> dict[str, Cache]:
    """Keys and values to go on from, under the name that this release of transformers has for them."""
    names = inspect.signature(decoder.base_model.forward).parameters
    return {"cache" if "cache" in names else "past_key_values": cache}


def load_vision_encoder(name_or_path: str) -> PreTrainedModel:
    """Load an image encoder in float32; a checkpoint of two towers, such as CLIP's, gives its image tower."""
    model = AutoModel.from_pretrained(name_or_path, dtype=torch.float32)
    return model.vision_model if hasattr(model, "vision_model") and hasattr(model, "text_model") else model


def load_encoders(
    vision: str,
    text: str,
    image_size: int | None = None,
    vision_layers: int | None = None,
    text_layers: int | None = None,
) -> tuple[PreTrainedModel, PreTrainedModel, dict[str, Any]]:
    """Load an image and a text encoder in float32.

    Args:
        vision: Name or path of an image encoder, or of a checkpoint of two towers.
        text: Name or path of a BERT-like text encoder.
        image_size: Pixels on a side that the image encoder's configuration shall say; None keeps its own.
        vision_layers: Layers that the image encoder's configuration shall say, the first ones; None keeps all.
        text_layers: Likewise of the text encoder.

    Returns:
        Both encoders, whole; `vision_config`, `text_config` and the ids with which answers begin, end and are padded,
        as `AmifConfig` takes them.

    Raises:
        ValueError: If the image encoder has no token states, its patches do not divide another `image_size`, or an
            encoder has fewer layers than it shall keep.
    """
    vision_model = load_vision_encoder(vision)
    text_model = AutoModel.from_pretrained(text, dtype=torch.float32)
    if image_size is not None and image_size != getattr(vision_model.config, "image_size", None):
        check_image_size(image_size, getattr(vision_model.config, "patch_size", None))
    vision_config = vision_model.config.to_dict()
    vision_config["image_size"] = image_size or vision_config.get("image_size")
    configs = {
        "vision_config": with_first_layers(vision_config, vision_layers, "vision_layers"),
        "text_config": with_first_layers(text_model.config.to_dict(), text_layers, "text_layers"),
    }
    return vision_model, text_model, configs | _special_token_ids(text)


def with_first_layers(config: dict[str, Any], count: int | None, name: str) -> dict[str, Any]:
    """The configuration of a model's first layers alone; None keeps all.

    Raises:
        ValueError: If the model has fewer, or its configuration does not count them in `num_hidden_layers`, as Swin's
            does not; `name` is what gave the count.
    """
    if count is None:
        return config
    depth = config.get("num_hidden_layers")
    if depth is None:
        raise ValueError(f"{name}={count}: {config['model_type']!r} states no num_hidden_layers; leave {name} out.")
    if not 1 <= count <= depth:
        weights = f"the {config['model_type']} weights have {depth} layers"
        raise ValueError(f"{name}={count}: {weights}; give 1 to {depth}, or other weights.")
    # Backbones, such as DINOv2's, name stages by depth, and refuse a stage that is no more.
    stages = ("stage_names", "out_features", "out_indices")
    shortened = {key: value for key, value in config.items() if key not in stages} | {"num_hidden_layers": count}
    if config.get("layer_types"):
        shortened["layer_types"] = config["layer_types"][:count]
    return shortened


def _special_token_ids(text: str) -> dict[str, int]:
    """The ids of [CLS], [SEP] and [PAD] of the tokenizer beside a text encoder; BERT's where there is no tokenizer."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(text)
    except (OSError, ValueError):
        logger.warning(f"No tokenizer beside {text!r}: special tokens are taken to be BERT's, 101, 102 and 0.")
        return {}
    return {
        "decoder_start_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def check_image_size(image_size: int, patch_size: Any) -> None:
    """Refuse an image size whose last pixels no patch would see.

    Raises:
        ValueError: If `patch_size` is a number that does not divide `image_size`, or the size is not positive.
    """
    if image_size < 1:
        raise ValueError(f"image_size={image_size} is no size; give a positive number of pixels.")
    if isinstance(patch_size, int) and image_size % patch_size:
        lower = image_size // patch_size * patch_size
        sizes = f"{lower} or {lower + patch_size}" if lower else str(patch_size)
        raise ValueError(f"image_size={image_size} is not a multiple of the patch size {patch_size}; use {sizes}.")


def copy_weights(source: nn.Module, target: nn.Module) -> list[str]:
    """Copy every weight that `target` has in `source`; position tables of another grid are resized.

    Returns:
        The names of weights of `target` that `source` does not have.

    Raises:
        ValueError: If a weight that is not a position table has another shape.
    """
    weights, wanted = source.state_dict(), target.state_dict()
    copied = {}
    for name, old in wanted.items():
        if name not in weights:
            continue
        new = weights[name]
        if new.shape != old.shape and name.endswith(("position_embeddings", "position_embedding.weight")):
            new = resize_position_embeddings(new, old.shape[-2])
        if new.shape != old.shape:
            raise ValueError(f"Weight {name!r} has shape {tuple(new.shape)}; the new model needs {tuple(old.shape)}.")
        copied[name] = new
    target.load_state_dict(copied, strict=False)
    return sorted(wanted.keys() - copied.keys())


def resize_position_embeddings(table: torch.Tensor, num_positions: int) -> torch.Tensor:
    """Resize a table of patch positions to another square grid by bicubic interpolation; a class token is kept.

    Args:
        table: (..., old positions, width), rows of the grid in reading order after at most one class token.
        num_positions: Positions of the new table, class token included.

    Returns:
        The table (..., new positions, width).

    Raises:
        ValueError: If either number of positions is not a square grid with at most one class token.
    """
    old_grid, extra = _square_grid(table.shape[-2])
    new_grid, new_extra = _square_grid(num_positions)
    if extra != new_extra:
        raise ValueError(f"Cannot resize {table.shape[-2]} positions to {num_positions}: only one has a class token.")
    width = table.shape[-1]
    class_token, patches = table.reshape(-1, width).split([extra, old_grid * old_grid])
    patches = patches.T.reshape(1, width, old_grid, old_grid)
    patches = nn.functional.interpolate(patches.float(), size=(new_grid, new_grid), mode="bicubic").to(table.dtype)
    resized = torch.cat([class_token, patches.reshape(width, -1).T])
    return resized.reshape(*table.shape[:-2], num_positions, width)


def image_token_states(vision_model: PreTrainedModel, pixel_values: torch.Tensor, pooling: int) -> torch.Tensor:
    """Token states of images: class token, if there is one, then patches.

    Args:
        vision_model: Any image encoder of transformers that returns `last_hidden_state` of shape (U, tokens, width).
        pixel_values: (U, channels, height, width).
        pooling: Side of the square of patches that is averaged into one; 1 keeps all.

    Returns:
        States (U, tokens, width).

    Raises:
        ValueError: If the encoder has no token states, or the patches are not a square grid that `pooling` divides.
    """
    states = vision_model(pixel_values=pixel_values).last_hidden_state
    if states.dim() != 3:
        raise ValueError(
            f"{type(vision_model).__name__} returns states of shape {tuple(states.shape)}, not (images, tokens, "
            "width); use a transformer encoder such as ViT, CLIP or DINOv2."
        )
    if hasattr(vision_model, "post_layernorm") and hasattr(vision_model, "pre_layrnorm"):
        # CLIP normalises its pooled token only; AMiF reads every token, so every token is normalised.
        states = vision_model.post_layernorm(states)
    return states if pooling == 1 else _pool_patches(states, pooling)


def visible_token_states(
    vision_model: PreTrainedModel, pixel_values: torch.Tensor, visible_patches: torch.Tensor
) -> torch.Tensor:
    """Token states of images of which only some patches are read; the others enter no block and cost nothing.

    Args:
        vision_model: One of `VISIBLE_PATCH_ENCODERS`.
        pixel_values: (U, channels, height, width).
        visible_patches: (U, v) int64, the places in reading order of each image's visible patches.

    Returns:
        States (U, v, width), or (U, 1 + v, width) with a class token; each patch has its true position embedding.

    Raises:
        ValueError: If the encoder is none of them.
    """
    if vision_model.config.model_type not in VISIBLE_PATCH_ENCODERS:
        raise ValueError(
            f"The image encoder {vision_model.config.model_type!r} cannot read a part of the patches; use one of "
            f"{VISIBLE_PATCH_ENCODERS}."
        )
    with _only_visible(vision_model, visible_patches):
        return image_token_states(vision_model, pixel_values, pooling=1)


@contextmanager
def _only_visible(vision_model: PreTrainedModel, visible_patches: torch.Tensor) -> Iterator[None]:
    def keep(module: nn.Module, args: tuple, states: torch.Tensor) -> torch.Tensor:
        extra = int(has_class_token(states.shape[1]))
        class_token, patches = states[:, :extra], states[:, extra:]
        places = visible_patches.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        return torch.cat([class_token, patches.gather(1, places)], dim=1)

    hook = vision_model.embeddings.register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def _pool_patches(states: torch.Tensor, pooling: int) -> torch.Tensor:
    grid, extra = _square_grid(states.shape[1])
    if grid % pooling:
        raise ValueError(f"image_pooling={pooling} does not divide the grid of {grid} x {grid} patches.")
    patches = states[:, extra:].transpose(1, 2).unflatten(2, (grid, grid))
    pooled = nn.functional.avg_pool2d(patches, pooling).flatten(2).transpose(1, 2)
    return torch.cat([states[:, :extra], pooled], dim=1)


def has_class_token(num_tokens: int) -> bool:
    """Whether so many token states of an image are a class token and a square grid, rather than the grid alone."""
    return _square_grid(num_tokens)[1] == 1


def _square_grid(num_positions: int) -> tuple[int, int]:
    grid = math.isqrt(num_positions)
    extra = num_positions - grid * grid
    if extra > 1:
        raise ValueError(f"{num_positions} positions are not a square grid of patches with at most one class token.")
    return grid, extra


__all__ = [
    "build_decoder",
    "build_encoder",
    "cache_option",
    "check_image_size",
    "copy_weights",
    "has_class_token",
    "image_token_states",
    "load_encoders",
    "resize_position_embeddings",
    "visible_token_states",
]
