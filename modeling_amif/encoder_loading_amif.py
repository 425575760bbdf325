"""Pretrained encoders and decoders: loading them, keeping first layers, resizing position embeddings."""

import os
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from .encoders_amif import square_grid
from .input_checks_amif import check_count
from .open_clip_amif import OpenClipFiles, is_open_clip, tokenizer_source

logger = logging.get_logger(__name__)


def load_vision_encoder(name_or_path: str) -> PreTrainedModel:
    """Load an image encoder in float32; a checkpoint of two towers, such as CLIP's, gives its image tower.

    open_clip:NAME_OR_FOLDER gives that of an open_clip model. The errors are those of `load_weights`, or there those of
    `OpenClipFiles.image_tower`.
    """
    if is_open_clip(name_or_path):
        return checked_weights(OpenClipFiles.of(name_or_path).image_tower(), name_or_path, "image encoder")
    model: Any = load_weights(name_or_path, "image encoder")
    return model.vision_model if hasattr(model, "vision_model") and hasattr(model, "text_model") else model


def load_text_encoder(name_or_path: str) -> PreTrainedModel:
    """Load a text encoder in float32; open_clip:NAME_OR_FOLDER gives the text tower of an open_clip model.

    The other errors are those of `load_weights`, or of `OpenClipFiles.text_tower`.

    Raises:
        ValueError: If it is CLIP's text tower, or a checkpoint of two towers.
    """
    if is_open_clip(name_or_path):
        return checked_weights(OpenClipFiles.of(name_or_path).text_tower(), name_or_path, "text encoder")
    model = load_weights(name_or_path, "text encoder")
    two_towers = hasattr(model, "vision_model") and hasattr(model, "text_model")
    if two_towers or model.config.model_type == "clip_text_model":
        raise ValueError(
            f"The text encoder {name_or_path} is CLIP's or one like it, which has no [CLS] that reads the whole text: "
            "give a BERT-like one."
        )
    return model


def load_weights(name_or_path: str, what: str) -> PreTrainedModel:
    """Load a model in float32, from safetensors alone and without code that stands beside the weights.

    Args:
        name_or_path: Name or path of the model.
        what: What it is for, as the errors say it.

    Raises:
        FileNotFoundError: If there is no such model, or its weights are no safetensors.
        TypeError: If `name_or_path` is no text or path.
        ValueError: If transformers does not know the model, or weights are missing or not finite.
    """
    if not isinstance(name_or_path, str | os.PathLike) or not os.fspath(name_or_path):
        raise TypeError(f"The {what} is {name_or_path!r}: give its name on the Hub or its folder.")
    safely = {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    try:
        model, said = AutoModel.from_pretrained(name_or_path, dtype=torch.float32, **safely)
    except OSError as error:
        raise FileNotFoundError(
            f"No {what} can be read from {name_or_path} ({error}). Only safetensors are read, never pytorch_model.bin: "
            "where you trust such a file, load it once with transformers and save it again with save_pretrained."
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]  # behind which transformers lists all that it knows
        raise ValueError(f"{name_or_path} is no {what} that transformers knows ({reason}).") from error
    # Encoders that were trained to fill in words bring no pooler, and none is used here.
    if missing := sorted(name for name in said["missing_keys"] if "pooler" not in name):
        raise ValueError(
            f"The {what} {name_or_path} lacks {len(missing)} weights, {missing[0]} first: copy it again, or choose "
            "another."
        )
    return checked_weights(model, name_or_path, what)


def checked_weights(model: PreTrainedModel, name_or_path: str, what: str) -> PreTrainedModel:
    """The model, whose weights are finite.

    Raises:
        ValueError: If one is not.
    """
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ValueError(f"The {what} {name_or_path}: the weight {name} is not finite. Choose another.")
    return model


def check_fields(fields: Mapping[str, Any], config_class: type[PreTrainedConfig]) -> None:
    """Refuse fields that a configuration does not have: it would keep them, and nothing would read them.

    Raises:
        TypeError: If there is one.
    """
    known = {name for parent in config_class.__mro__ for name in signature(parent.__init__).parameters}
    known |= vars(PreTrainedConfig()).keys() | {"attn_implementation", "dtype"}
    unknown = sorted(fields.keys() - known)
    if unknown:
        raise TypeError(f"{config_class.__name__} has no field {', '.join(unknown)}: see its docstring.")


def load_encoders(
    vision: str,
    text: str,
    image_size: int | None = None,
    vision_layers: int | None = None,
    text_layers: int | None = None,
) -> tuple[PreTrainedModel, PreTrainedModel, dict[str, PreTrainedConfig | int]]:
    """Load an image and a text encoder in float32.

    Args:
        vision: Name or path of an image encoder, or of a checkpoint of two towers, or open_clip:NAME_OR_FOLDER.
        text: Name or path of a BERT-like text encoder, or open_clip:NAME_OR_FOLDER.
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
    text_model = load_text_encoder(text)
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
        check_count(name, count, least=0)
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


def matching_decoder_config(
    decoder: PreTrainedConfig, text: PreTrainedConfig, num_layers: int | None
) -> PreTrainedConfig:
    """A new configuration of a decoder's first layers, which shares its tokenizer with a text encoder.

    Raises:
        ValueError: If their vocabularies differ, or the decoder has fewer layers than `num_layers`.
    """
    if decoder.vocab_size != text.vocab_size:
        raise ValueError(
            f"The decoder has {decoder.vocab_size} tokens, the text encoder {text.vocab_size}; they share a tokenizer: "
            "choose a decoder with the same vocabulary."
        )
    return with_first_layers(decoder, num_layers, "decoder_layers")


def load_tokenizer(text: str) -> PreTrainedTokenizerBase:
    """The tokenizer beside a text encoder, or where an open_clip model says.

    Args:
        text: Name or path of the text encoder, or open_clip:NAME_OR_FOLDER.

    Raises:
        OSError: If there is none.
        ValueError: If there is none that transformers knows, or it knows no words: of a folder that has a model and no
            tokenizer transformers makes one of special tokens alone, to which every word is unknown.
    """
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_source(text), trust_remote_code=False)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ValueError(f"{text} has no tokenizer's files: copy its tokenizer.json or vocab.txt there")
    return tokenizer


def _token_ids(text: str) -> dict[str, int]:
    """The ids of [CLS], [SEP] and [PAD] of the tokenizer beside a text encoder; BERT's where there is no tokenizer."""
    try:
        tokenizer: Any = load_tokenizer(text)  # whose stub has ids be texts too
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
    check_count("image_size", image_size, least=0)
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
            cure = " Keep the encoder's own image_size." if "relative_position" in name else ""
            raise ValueError(
                f"Weight {name!r} has shape {tuple(new.shape)}; the new model needs {tuple(old.shape)}.{cure}"
            )
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
