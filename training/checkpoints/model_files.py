"""Whether a folder holds a model that can be loaded, and which; what its weights' files must be."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

# Of AMiF, whether it answers or is pre-trained, and of the two other objectives of pre-training.
MODEL_TYPES = ("amif", "amif_aga", "amif_mpma")


def is_pretrained_only(name_or_path: str) -> bool:
    """Whether a checkpoint comes from pre-training and so has no decoder; the errors are those of `check_model`."""
    check_model(name_or_path)
    config = PreTrainedConfig.get_config_dict(name_or_path)[0]
    return "AmifForVisualQuestionAnswering" not in config.get("architectures", [])


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


def check_model(name_or_path: str) -> None:
    """Make sure that a folder holds a whole AMiF model, or a name of the Hub stands for one, without loading it.

    Raises:
        FileNotFoundError: If configuration, weights or a shard of them are missing.
        ValueError: If the model is of another type, or a file of weights is damaged.
    """
    folder = Path(name_or_path)
    if folder.is_dir() and not (folder / CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {CONFIG_NAME}, so no model: give the folder that save_pretrained or a run wrote."
        )
    found = PreTrainedConfig.get_config_dict(name_or_path)[0].get("model_type")
    if found not in MODEL_TYPES:
        raise ValueError(
            f"The model {name_or_path} has model_type {found!r}, not one of {', '.join(MODEL_TYPES)}. To start from "
            "encoders, give --vision_model and --text_model instead of --model_name_or_path."
        )
    if not folder.is_dir():
        return
    index, names = folder / SAFE_WEIGHTS_INDEX_NAME, {SAFE_WEIGHTS_NAME}
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    for name in sorted(names):
        _check_weight_file(folder / name)


def _check_weight_file(file: Path) -> None:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: copy the checkpoint again, or choose another.")
    try:
        # Opening reads the header, which says how long the file must be.
        with safe_open(file, framework="pt"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}): copy the checkpoint again, or choose another.") from error
