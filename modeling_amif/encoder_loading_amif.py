"""Pretrained encoders and decoders: loading them, keeping first layers, resizing position embeddings."""

from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from .encoders_amif import square_grid

logger = logging.get_logger(__name__)


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
) -> tuple[PreTrainedModel, PreTrainedModel, dict[str, PreTrainedConfig | int]]:
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
    vision_config = with_first_layers(vision_model.config, vision_layers, "vision_layers")
    vision_config.image_size = image_size or getattr(vision_config, "image_size", None)
    text_config = with_first_layers(text_model.config, text_layers, "text_layers")
    return vision_model, text_model, {"vision_config": vision_config, "text_config": text_config} | _token_ids(text)


def with_first_layers(config: PreTrainedConfig, count: int | None, name: str) -> PreTrainedConfig:
    """A new configuration of a model's first layers alone; None keeps all.

    Raises:
        ValueError: If the model has fewer, or its configuration does not count them in `num_hidden_layers`, as Swin's
            does not; `name` is what gave the count.
    """
    fields = config.to_dict()
    if count is not None:
        depth = fields.get("num_hidden_layers")
        if depth is None:
            raise ValueError(f"{name}={count}: {config.model_type!r} states no num_hidden_layers; leave {name} out.")
        if not 1 <= count <= depth:
            weights = f"the {config.model_type} weights have {depth} layers"
            raise ValueError(f"{name}={count}: {weights}; give 1 to {depth}, or other weights.")
        # Backbones, such as DINOv2's, name stages by depth, and refuse a stage that is no more.
        for stages in ("stage_names", "out_features", "out_indices"):
            fields.pop(stages, None)
        fields["num_hidden_layers"] = count
        if fields.get("layer_types"):
            fields["layer_types"] = fields["layer_types"][:count]
    return type(config)(**fields)


def _token_ids(text: str) -> dict[str, int]:
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


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy to `target` every weight that it shares with `source`; position tables of another grid are resized.

    Raises:
        ValueError: If a weight that is not a position table has another shape.
    """
    weights, copied = source.state_dict(), {}
    for name, old in target.state_dict().items():
        if name not in weights:
            continue
        new = weights[name]
        if new.shape != old.shape and name.endswith(("position_embeddings", "position_embedding.weight")):
            new = resize_position_embeddings(new, old.shape[-2])
        if new.shape != old.shape:
            raise ValueError(f"Weight {name!r} has shape {tuple(new.shape)}; the new model needs {tuple(old.shape)}.")
        copied[name] = new
    target.load_state_dict(copied, strict=False)


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
    old_grid, extra = square_grid(table.shape[-2])
    new_grid, new_extra = square_grid(num_positions)
    if extra != new_extra:
        raise ValueError(f"Cannot resize {table.shape[-2]} positions to {num_positions}: only one has a class token.")
    width = table.shape[-1]
    class_token, patches = table.reshape(-1, width).split([extra, old_grid * old_grid])
    patches = patches.T.reshape(1, width, old_grid, old_grid)
    patches = nn.functional.interpolate(patches.float(), size=(new_grid, new_grid), mode="bicubic").to(table.dtype)
    resized = torch.cat([class_token, patches.reshape(width, -1).T])
    return resized.reshape(*table.shape[:-2], num_positions, width)
