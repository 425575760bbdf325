"""Image-text-to-text models of transformers, and what is wrong with a name that stands for none."""

from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from ..checkpoints.model_files import load_all_weights, model_type_of


def load_chat_model(
    name_or_path: str, dtype: str | None = None, device_map: str | None = None, trust_remote_code: bool = False
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model that answers text and images with text, in evaluation mode, and its processor, which pads on the left.

    Args:
        name_or_path: Folder, or name on the Hub.
        dtype: One of `arguments.DTYPES`; None is the checkpoint's own on a GPU, and float32 on a CPU.
        device_map: As for `from_pretrained`, such as "auto"; None is one GPU, or the CPU where there is none.
        trust_remote_code: Whether code that stands beside the weights may run.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it is no image-text-to-text model, has no processor of images and text, or cannot be read.
    """
    check_chat_model(name_or_path, trust_remote_code)
    processor = _processor_of(name_or_path, trust_remote_code)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    own = "auto" if device is not None else torch.float32
    options: dict[str, Any] = {} if device_map is None else {"device_map": device_map}
    model = load_all_weights(
        AutoModelForImageTextToText,
        name_or_path,
        dtype=own if dtype is None else getattr(torch, dtype),
        trust_remote_code=trust_remote_code,
        **options,
    )
    return (model.to(device) if device is not None and device_map is None else model).eval(), processor


def check_chat_model(name_or_path: str, trust_remote_code: bool) -> None:
    """Make sure that a name stands for an image-text-to-text model, without loading it.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it is of another kind, or brings code that may not run.
    """
    kind = model_type_of(name_or_path)
    config = PreTrainedConfig.get_config_dict(name_or_path)[0]
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return
    if "AutoModelForImageTextToText" not in (config.get("auto_map") or {}):
        raise ValueError(
            f"The model {name_or_path} has model_type {kind!r}, which does not answer images and text with text: name "
            "one that AutoModelForImageTextToText loads. AMiF's own checkpoints are evaluated by run_vqa.py."
        )
    if not trust_remote_code:
        raise ValueError(
            f"The model {name_or_path} brings code of its own, which is not run: read it, and give "
            "--trust_remote_code if you trust it."
        )


def _processor_of(name_or_path: str, trust_remote_code: bool) -> ProcessorMixin:
    try:
        processor = AutoProcessor.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except Exception as error:  # of transformers, tokenizers or Python, each its own
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"The processor of {name_or_path} cannot be read ({said}): it is saved beside the weights, as "
            "preprocessor_config.json or processor_config.json and the tokenizer's files."
        ) from error
    parts: dict[str, Any] = {name: getattr(processor, name, None) for name in ("image_processor", "tokenizer")}
    if missing := [name.replace("_", " ") for name, part in parts.items() if part is None]:
        raise ValueError(
            f"{name_or_path} has no {' and no '.join(missing)}, so images and questions cannot be prepared: copy "
            "preprocessor_config.json, processor_config.json and the tokenizer's files beside the weights."
        )
    parts["tokenizer"].padding_side = "left"  # answers go on where the prompts end
    if parts["tokenizer"].pad_token is None:
        parts["tokenizer"].pad_token = parts["tokenizer"].eos_token
    return processor
