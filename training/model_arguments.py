"""What the command lines of pre-training and fine-tuning say alike about the model that a run starts from."""

import logging
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar

from .argument_checks import COUNT, SHARE, check_bounds

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

# What a command line may give of a model's configuration.
ConfigField = str | bool | float | list[int]


@dataclass
class BaseModelArguments:
    """Which model to start from, and how to build it.

    Raises:
        ValueError: If one encoder is named without the other, or is to be shortened and not named; or if a number is
            not what it may be.
    """

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A checkpoint to go on from, or to evaluate."}
    )
    vision_model: str | None = field(
        default=None, metadata={"help": "Pretrained image encoder: name, path or open_clip:NAME_OR_PATH."}
    )
    text_model: str | None = field(default=None, metadata={"help": "Pretrained BERT-like text encoder, likewise."})
    vision_layers: int | None = field(
        default=None, metadata={"help": "Keep only the first so many layers of --vision_model; default: all."}
    )
    text_layers: int | None = field(default=None, metadata={"help": "Likewise of --text_model."})
    image_size: int | None = field(default=None, metadata={"help": "Pixels on a side; default: the image processor's."})
    vision_feature_layer: list[int] | None = field(
        default=None,
        metadata={
            "help": "Hidden states of a new model's image encoder that are read, side by side, the last among them, "
            "such as 4 8 12 of twelve blocks; 0 is before the first. Default: the last state alone."
        },
    )
    hidden_size: int = field(default=128, metadata={"help": "Width of a small new model."})
    num_attention_heads: int | None = field(
        default=None, metadata={"help": "Heads of a new co-attention and knowledge fusion; default: of 64 values each."}
    )
    attention_probs_dropout_prob: float = field(default=0.1, metadata={"help": "Dropout on co-attention weights."})
    attn_implementation: str | None = field(
        default=None, metadata={"help": "sdpa, eager, ..; on a CPU eager trains small models in bf16 fastest."}
    )

    # Arguments that are fields of a new model's configuration too, where they are given.
    config_fields: ClassVar[tuple[str, ...]] = (
        "attention_probs_dropout_prob",
        "num_attention_heads",
        "vision_feature_layer",
    )

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(
            ("hidden_size", "image_size", "vision_layers", "text_layers", "num_attention_heads"), COUNT
        )
        check_bounds(self, {**sizes, "attention_probs_dropout_prob": SHARE})
        if (self.vision_model is None) != (self.text_model is None):
            raise ValueError("Give --vision_model and --text_model together, or neither for a small new model.")
        if self.vision_model is None and {self.vision_layers, self.text_layers} != {None}:
            raise ValueError("--vision_layers and --text_layers shorten --vision_model and --text_model: give those.")

    def set_attention(self, model: "PreTrainedModel") -> None:
        """Have a model attend as `attn_implementation` says, if it says so.

        Raises:
            ValueError: If the model cannot.
        """
        if self.attn_implementation is None:
            return
        try:
            model.set_attn_implementation(self.attn_implementation)
        except (ImportError, ValueError) as error:
            raise ValueError(f"--attn_implementation {self.attn_implementation}: {error}") from error

    @property
    def start(self) -> str | None:
        """The checkpoint or image encoder that a run starts from; None where all weights are new."""
        return self.model_name_or_path or self.vision_model

    def warn_of_unlike(self, config: "PreTrainedConfig") -> None:
        """Name the arguments that a checkpoint, which is as it is, does not follow.

        Args:
            config: Of the model that was built.
        """
        if self.model_name_or_path is None:
            return
        own = {"hidden_size": config.text_config.hidden_size, "image_size": config.vision_config.image_size}
        default = {field.name: field.default for field in fields(self)}
        for name in (*self.config_fields, *own):
            given, kept = getattr(self, name), own.get(name, getattr(config, name, None))
            if given not in (default[name], kept):
                logger.warning(f"--{name} {given} is for a new model: the checkpoint's stays {kept}.")
