"""Towers of open_clip models as encoders of transformers, read from their files: open_clip itself is not needed."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    BertConfig,
    CLIPVisionConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ViTConfig,
)
from transformers.modeling_utils import load_state_dict
from transformers.utils import logging
from transformers.utils.hub import cached_file

from .encoders_amif import square_grid

logger = logging.get_logger(__name__)

PREFIX = "open_clip:"

CONFIG_FILE = "open_clip_config.json"

WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")

# Weights do not tell how many heads share them: of timm's plain ViTs the name does, of BERTs of these widths the width.
TIMM_NAME = re.compile(r"vit_(?P<size>tiny|small|base|large|huge|giant|gigantic)_patch\d+_\d+(\.\w+)?")
TIMM_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16, "giant": 16, "gigantic": 16}
BERT_HEADS = {768: 12, 1024: 16}

# What of open_clip's own ViT the weights do not tell either, and what does not change its token states.
TOLD_BY_CONFIG = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "norm_kwargs"}
NOT_IN_STATES = {"patch_dropout", "output_tokens", "pool_type", "final_ln_after_pool", "pos_embed_type"}

# Names of weights, open_clip's to transformers'; `attn.qkv` and `attn.in_proj_` hold three in one.
TIMM_VIT = {
    r"^blocks\.(\d+)\.": r"encoder.layer.\1.",
    r"\.norm1\.": ".layernorm_before.",
    r"\.norm2\.": ".layernorm_after.",
    r"\.attn\.qkv\.": ".attention.attention.{}.",
    r"\.attn\.proj\.": ".attention.output.dense.",
    r"\.mlp\.fc1\.": ".intermediate.dense.",
    r"\.mlp\.fc2\.": ".output.dense.",
    r"^norm\.": "layernorm.",
    r"^cls_token$": "embeddings.cls_token",
    r"^pos_embed$": "embeddings.position_embeddings",
    r"^patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",
}
CLIP_VIT = {
    r"^transformer\.resblocks\.": "encoder.layers.",
    r"\.ln_(\d)\.": r".layer_norm\1.",
    r"\.attn\.in_proj_": ".self_attn.{}_proj.",
    r"\.attn\.out_proj\.": ".self_attn.out_proj.",
    r"\.mlp\.c_fc\.": ".mlp.fc1.",
    r"\.mlp\.c_proj\.": ".mlp.fc2.",
    r"^ln_pre\.": "pre_layrnorm.",
    r"^ln_post\.": "post_layernorm.",
    r"^conv1\.": "embeddings.patch_embedding.",
    r"^class_embedding$": "embeddings.class_embedding",
    r"^positional_embedding$": "embeddings.position_embedding.weight",
}


def is_open_clip(name: object) -> bool:
    """Whether an encoder is named as the tower of an open_clip model, open_clip:NAME_OR_FOLDER."""
    return isinstance(name, str) and name.startswith(PREFIX)


def tokenizer_source(name: str) -> str:
    """Where the tokenizer of a text encoder lies: beside it, or where an open_clip model on the Hub says.

    Raises:
        FileNotFoundError: If the open_clip model is not there.
        ValueError: If its text tower is none of transformers.
    """
    return OpenClipFiles.of(name).tokenizer_source if is_open_clip(name) else name


@dataclass(frozen=True)
class OpenClipFiles:
    """The files of an open_clip model, a folder or a repository on the Hub, and the towers made of them.

    Args:
        name: Folder or repository.
        model: What `open_clip_config.json` says of the towers.
        preprocessing: What it says of images; empty where all is as CLIP's.
    """

    name: str
    model: Mapping[str, Any]
    preprocessing: Mapping[str, Any]

    @classmethod
    def of(cls, name: str) -> Self:
        """The files of open_clip:NAME_OR_FOLDER.

        Raises:
            FileNotFoundError: If they are not there.
            ValueError: If `open_clip_config.json` is not open_clip's.
        """
        source = name.removeprefix(PREFIX)
        said = json.loads(Path(_file(source, CONFIG_FILE)).read_text(encoding="utf-8"))
        model = said.get("model_cfg") if isinstance(said, dict) else None
        if not isinstance(model, dict) or not {"vision_cfg", "text_cfg"} <= model.keys():
            raise ValueError(f"{CONFIG_FILE} of {source} has no model_cfg with vision_cfg and text_cfg: copy it again.")
        return cls(source, model, said.get("preprocess_cfg") or {})

    @property
    def tokenizer_source(self) -> str:
        """The folder itself, as for open_clip, or the name that a repository gives.

        Raises:
            ValueError: If the text tower is none of transformers.
        """
        named = self._text_model
        return self.name if Path(self.name).is_dir() else self.model["text_cfg"].get("hf_tokenizer_name") or named

    @property
    def _text_model(self) -> str:
        name = self.model["text_cfg"].get("hf_model_name")
        if not name:
            raise ValueError(
                f"The text tower of {PREFIX}{self.name} is CLIP's own, whose words do not read what follows, without a "
                "[CLS]: take its image tower, and a BERT-like encoder as the text model."
            )
        return name

    def image_tower(self) -> PreTrainedModel:
        """The image tower, a ViT or CLIP's, in float32.

        Raises:
            FileNotFoundError: If its weights are not there.
            ValueError: If it is no plain ViT of timm or open_clip.
        """
        weights = self._weights("visual.")
        timm_name = self.model["vision_cfg"].get("timm_model_name")
        if timm_name is None:
            config, renamed = self._clip_vit(weights)
        else:
            config, renamed = self._timm_vit(timm_name, weights)
        return self._built(config, renamed, "image tower")

    def text_tower(self) -> PreTrainedModel:
        """The text tower, an encoder of transformers already, in float32.

        Raises:
            FileNotFoundError: If its weights are not there.
            ValueError: If it is CLIP's own, or its configuration can be read nowhere.
        """
        name = self._text_model
        weights = self._weights("text.transformer.")
        weights.pop("embeddings.position_ids", None)  # a count, which older releases of transformers kept
        try:
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        except (OSError, ValueError) as error:
            config = _config_of_bert(weights)
            if config is None:
                raise FileNotFoundError(
                    f"The text tower of {PREFIX}{self.name} is a {name}, whose config.json cannot be read and whose "
                    f"weights do not tell its heads: load it once with the Hub at hand ({error})."
                ) from error
            heads = f"{config.num_attention_heads} heads, as BERTs of {config.hidden_size} have"
            logger.warning(f"The configuration of {name} cannot be read: the text tower is taken to have {heads}.")
        return self._built(config, weights, "text tower")

    def _weights(self, prefix: str) -> dict[str, torch.Tensor]:
        """The weights whose names begin with `prefix`, without it; never by a pickle that could run code."""
        try:
            weights = load_state_dict(_file(self.name, *WEIGHT_FILES), weights_only=True)
        except (RuntimeError, ValueError, KeyError, EOFError, AttributeError, UnpicklingError) as error:
            raise ValueError(
                f"The weights of {PREFIX}{self.name} cannot be read: copy them again ({error})."
            ) from error
        return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}

    def _timm_vit(
        self, timm_name: str, weights: Mapping[str, torch.Tensor]
    ) -> tuple[ViTConfig, dict[str, torch.Tensor]]:
        weights = {name[6:]: weight for name, weight in weights.items() if name.startswith("trunk.")}
        known = TIMM_NAME.fullmatch(timm_name)
        if known is None or "pos_embed" not in weights:
            raise ValueError(
                f"The image tower of {PREFIX}{self.name} is timm's {timm_name}, no plain ViT such as "
                "vit_base_patch16_224: give it by its name in transformers if it has one, as SigLIP's do, or another."
            )
        width, _, patch_size, _ = weights["patch_embed.proj.weight"].shape
        config = ViTConfig(
            hidden_size=width,
            num_hidden_layers=_count_layers(weights, r"blocks\.(\d+)\."),
            num_attention_heads=TIMM_HEADS[known["size"]],
            intermediate_size=weights["blocks.0.mlp.fc1.weight"].shape[0],
            image_size=square_grid(weights["pos_embed"].shape[1])[0] * patch_size,
            patch_size=patch_size,
            layer_norm_eps=1e-6,
        )
        kept = {name: weight for name, weight in weights.items() if not name.startswith("head.")}
        return config, _renamed(kept, TIMM_VIT, ("query", "key", "value"))

    def _clip_vit(self, weights: Mapping[str, torch.Tensor]) -> tuple[CLIPVisionConfig, dict[str, torch.Tensor]]:
        said = self.model["vision_cfg"]
        if "class_embedding" not in weights or {
            name for name, value in said.items() if value and name not in TOLD_BY_CONFIG | NOT_IN_STATES
        }:
            raise ValueError(
                f"The image tower of {PREFIX}{self.name} is no plain ViT of open_clip's, whose configuration gives no "
                f"more than {', '.join(sorted(TOLD_BY_CONFIG))}: choose another, such as that of ViT-B-16."
            )
        width, _, patch_size, _ = weights["conv1.weight"].shape
        config = CLIPVisionConfig(
            hidden_size=width,
            num_hidden_layers=_count_layers(weights, r"transformer\.resblocks\.(\d+)\."),
            num_attention_heads=width // said.get("head_width", 64),
            intermediate_size=weights["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            image_size=square_grid(weights["positional_embedding"].shape[0])[0] * patch_size,
            patch_size=patch_size,
            hidden_act="quick_gelu" if self.model.get("quick_gelu") else "gelu",
            layer_norm_eps=(said.get("norm_kwargs") or {}).get("eps", 1e-5),
        )
        kept = {name: weight for name, weight in weights.items() if name != "proj"}
        return config, _renamed(kept, CLIP_VIT, ("q", "k", "v"))

    def _built(self, config: PreTrainedConfig, weights: dict[str, torch.Tensor], what: str) -> PreTrainedModel:
        """A model of transformers with these weights, each of which has its place."""
        model_class: Any = MODEL_MAPPING.get(type(config), None)
        if model_class is None:
            raise ValueError(f"The {what} of {PREFIX}{self.name}, {config.model_type}, is no encoder: choose another.")
        takes_pooler = "add_pooling_layer" in signature(model_class.__init__).parameters
        model, said = model_class.from_pretrained(
            None,
            config=config,
            state_dict={name: weight for name, weight in weights.items() if not name.startswith("pooler.")},
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # which is said below, by name
            **({"add_pooling_layer": False} if takes_pooler else {}),
        )
        missing = {name for name in said["missing_keys"] if not name.startswith("pooler.")}
        if wrong := sorted(missing | said["unexpected_keys"] | {name for name, *_ in said["mismatched_keys"]}):
            raise ValueError(
                f"The {what} of {PREFIX}{self.name} is no {config.model_type} of transformers: {len(wrong)} weights "
                f"differ, {wrong[0]} first. Choose another."
            )
        return model


def _file(source: str, *names: str) -> str:
    """The first of these files that a folder or repository has.

    Raises:
        FileNotFoundError: If it has none.
    """
    reason = None
    for name in names:
        try:
            found = cached_file(source, name)
        except (OSError, ValueError) as error:
            reason = error
        else:
            if found is not None:
                return found
    raise FileNotFoundError(
        f"{source} holds no {' or '.join(names)}: give the folder of an open_clip model, or its name on the Hub "
        f"({reason})."
    ) from reason


def _count_layers(weights: Mapping[str, torch.Tensor], pattern: str) -> int:
    return 1 + max(int(found[1]) for name in weights if (found := re.match(pattern, name)))


def _renamed(
    weights: Mapping[str, torch.Tensor], names: Mapping[str, str], parts: tuple[str, str, str]
) -> dict[str, torch.Tensor]:
    """The weights under transformers' names; those of query, key and value, stacked in one, each by itself."""
    renamed = {}
    for name, weight in weights.items():
        for pattern, new in names.items():
            name = re.sub(pattern, new, name)
        for part, rows in zip(parts, weight.chunk(3) if "{}" in name else (weight,), strict=False):
            renamed[name.format(part)] = rows
    return renamed


def _config_of_bert(weights: Mapping[str, torch.Tensor]) -> BertConfig | None:
    """The configuration that weights tell, if they are a BERT's of a width that tells its heads; else None."""
    types = weights.get("embeddings.token_type_embeddings.weight", torch.empty(0))
    if types.shape[0] != 2 or types.shape[1] not in BERT_HEADS:
        return None
    return BertConfig(
        vocab_size=weights["embeddings.word_embeddings.weight"].shape[0],
        hidden_size=types.shape[1],
        num_hidden_layers=_count_layers(weights, r"encoder\.layer\.(\d+)\."),
        num_attention_heads=BERT_HEADS[types.shape[1]],
        intermediate_size=weights["encoder.layer.0.intermediate.dense.weight"].shape[0],
        max_position_embeddings=weights["embeddings.position_embeddings.weight"].shape[0],
    )
