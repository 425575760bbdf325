"""Whether a folder holds a model that can be loaded, and which; what its weights' files must be; and loading it."""

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModel, AutoProcessor, PreTrainedConfig
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from ...processing_amif import AmifProcessor
from .checkpoint_files import check_saved_weights

Model = TypeVar("Model", bound=nn.Module)

# Of AMiF, whether it answers or is pre-trained, and of the two other objectives of pre-training.
MODEL_TYPES = ("amif", "amif_aga", "amif_mpma")


def is_pretrained_only(name_or_path: str) -> bool:
    """Whether a checkpoint comes from pre-training and so has no decoder; the errors are those of `check_model`."""
    return "AmifForVisualQuestionAnswering" not in architectures_of(name_or_path)


def architectures_of(name_or_path: str) -> list[str]:
    """The names of the models that a checkpoint says it holds; the errors are those of `check_model`."""
    check_model(name_or_path)
    named = PreTrainedConfig.get_config_dict(name_or_path)[0].get("architectures")
    return [str(name) for name in named] if isinstance(named, list) else []


def check_evaluated_checkpoint(name_or_path: str | None, output_dir: str | Path) -> None:
    """Make sure that an evaluation without training has a checkpoint, and leaves its folder as training left it.

    Raises:
        ValueError: If no checkpoint is named, or `output_dir` is its folder.
    """
    if name_or_path is None:
        raise ValueError("--do_train false evaluates a checkpoint: name one as --model_name_or_path.")
    if Path(name_or_path).resolve() == Path(output_dir).resolve():
        raise ValueError(
            f"--output_dir {output_dir} is the checkpoint itself, whose metrics, predictions and card would be "
            "replaced: give another folder."
        )


def local_folder(name_or_path: str) -> Path:
    """The folder of a checkpoint's files; of one of the Hub, their place in the cache, not to be written to."""
    folder = Path(name_or_path)
    return folder if folder.is_dir() else Path(str(cached_file(name_or_path, CONFIG_NAME))).parent


def load_checkpoint(name_or_path: str, *kinds: type[Model], **options: Any) -> tuple[Model, AmifProcessor]:
    """Read a checkpoint whole, as everything here that takes one does: model in float32, in evaluation mode; processor.

    Weights are safetensors, and code that stands beside them does not run. Other errors are those of `check_model`.

    Args:
        name_or_path: Folder, or name on the Hub.
        *kinds: What the model must be, one of these.
        **options: Further ones of `from_pretrained`, such as `attn_implementation`.

    Raises:
        ValueError: If the model is another one, or weights are missing, are not its own, have other shapes, hold NaN or
            infinity, or are not those that a run saved.
    """
    check_model(name_or_path)
    model = load_all_weights(AutoModel, name_or_path, **options)
    if not isinstance(model, kinds):
        needed = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{name_or_path} holds {type(model).__name__}, and {needed} is needed here.")
    try:
        return model, AutoProcessor.from_pretrained(name_or_path, trust_remote_code=False)
    except Exception as error:  # of transformers, tokenizers or Python, each its own
        raise ValueError(
            f"The processor in {name_or_path} cannot be read ({_first_line(error)}): copy the checkpoint again, or "
            "choose another."
        ) from error


def load_all_weights(model_class: Any, name_or_path: str, **options: Any) -> Any:
    """Read a model, ours or another's: its weights and no others, in float32 and without code that stands beside them.

    Args:
        model_class: What has `from_pretrained`: a model's class, or `AutoModel`.
        name_or_path: Folder, or name on the Hub.
        **options: Further ones of `from_pretrained`, which may ask for another `dtype` and for `trust_remote_code`.

    Raises:
        ValueError: If weights are missing, have other shapes or are not finite; of ours, if some are not its own.
    """
    safely = {"use_safetensors": True, "output_loading_info": True}
    chosen = {"dtype": torch.float32, "trust_remote_code": False} | options
    try:
        model, said = model_class.from_pretrained(name_or_path, **chosen, **safely)
    except Exception as error:  # of other shapes, and whatever a damaged configuration leads to
        raise ValueError(
            f"The model {name_or_path} cannot be read ({_first_line(error)}): copy it again, or choose another."
        ) from error
    # Others' checkpoints may hold heads that a teacher does not need.
    kinds = ("missing", "unexpected") if model.config.model_type in MODEL_TYPES else ("missing",)
    for kind in kinds:
        if names := sorted(said[f"{kind}_keys"]):
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ValueError(
                f"{name_or_path} has {kind} weights: {shown}. Copy the checkpoint again, or choose another."
            )
    refuse_infinite_weights(model, name_or_path)
    return model


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def refuse_infinite_weights(model: nn.Module, where: str) -> None:
    """Make sure that all weights are finite.

    Args:
        model: Their model.
        where: The checkpoint that they were read from, or the step that they were trained to.

    Raises:
        ValueError: If one is not, naming the first.
    """
    for name, weight in model.named_parameters():
        if not weight.is_meta and not torch.isfinite(weight).all():  # what is offloaded is not looked at
            raise ValueError(
                f"{where}: the weight {name} is not finite, so it is neither saved nor used. Take an earlier "
                "checkpoint, or train again with a lower --learning_rate."
            )


def check_model(name_or_path: str) -> None:
    """Make sure that a folder holds a whole AMiF model, or a name of the Hub stands for one, without loading it.

    Raises:
        FileNotFoundError: If there is no such model, or its configuration, weights or a shard of them are missing.
        ValueError: If the model is of another type, a file of weights or the list of shards is damaged or not as the
            run saved it, or a shard lies outside of the folder.
    """
    folder, found = Path(name_or_path), model_type_of(name_or_path)
    if found not in MODEL_TYPES:
        raise ValueError(
            f"The model {name_or_path} has model_type {found!r}, not one of {', '.join(MODEL_TYPES)}. To start from "
            "encoders, give --vision_model and --text_model instead of --model_name_or_path."
        )
    if not folder.is_dir():
        return
    for file in _weight_files(folder):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: copy the checkpoint again, or choose another.")
        try:
            # Opening reads the header, which says how long the file must be.
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged ({error}): copy the checkpoint again, or choose another.") from error
    check_saved_weights(folder)


def model_type_of(name_or_path: str) -> str | None:
    """The `model_type` of what a folder or a name of the Hub holds; None where its configuration names none.

    Raises:
        FileNotFoundError: If there is no such model, or no configuration.
        ValueError: If the configuration is damaged.
    """
    folder = Path(name_or_path)
    if folder.is_file():
        raise FileNotFoundError(f"{folder} is a file, and a model is a folder: give the one that a run wrote.")
    if folder.is_dir() and not (folder / CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {CONFIG_NAME}, so no model: give the folder that save_pretrained or a run wrote."
        )
    try:
        return PreTrainedConfig.get_config_dict(name_or_path)[0].get("model_type")
    except (AttributeError, OSError, TypeError) as error:  # no JSON, or no object
        if not folder.is_dir():
            raise FileNotFoundError(
                f"There is no folder {name_or_path}, and no model of that name can be had from the Hub or is kept here."
            ) from error
        raise ValueError(
            f"{CONFIG_NAME} of {name_or_path} is damaged: copy the checkpoint again, or choose another."
        ) from error


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers would read a model's weights from, all of its folder itself.

    Raises:
        ValueError: If the list of shards is damaged, or names a file elsewhere.
    """
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if (folder / SAFE_WEIGHTS_NAME).is_file() or not index.is_file():
        return [folder / SAFE_WEIGHTS_NAME]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        elsewhere = [name for name in names if name in ("", "..") or Path(name).name != name]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{index} is damaged ({error!r}): copy the checkpoint again, or choose another.") from error
    if elsewhere:
        raise ValueError(f"{index} names a file outside of its folder, {elsewhere[0]!r}: do not use this checkpoint.")
    return [folder / name for name in names]
