"""Low-rank adapters through peft (LoRA, Hu et al., arXiv 2106.09685): added, saved, read back and merged."""

from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from peft import LoraConfig

# In the output folder, beside the whole model that the adapter is merged into.
ADAPTER_FOLDER = "adapter"

ADAPTER_WEIGHTS = "adapter_model.safetensors"

# peft's names of weights begin with the two modules that it wraps a model in.
_PEFT_PREFIX = "base_model.model."


def add_lora(model: PreTrainedModel, rank: int, new_modules: Sequence[str] = ()) -> None:
    """Freeze a model and give each of its linear layers an adapter, W + 2 B A, that starts as 0.

    Layers that are frozen already get none, and neither does an answer head that shares its weight with an embedding.

    Args:
        model: The model, changed in place.
        rank: The rows of A and columns of B.
        new_modules: Parts of names of modules that are new and not pretrained: these are trained as they are and saved
            whole, in the adapter's files.

    Raises:
        ImportError: If peft is not installed.
        ValueError: If the rank is not positive.
    """
    if rank < 1:
        raise ValueError(f"The rank of an adapter is {rank}; give 1 or more, such as 8.")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ImportError('LoRA needs peft: pip install "amif[peft]", or "peft>=0.20"') from None
    whole = _outermost(model, new_modules)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=_linear_layers(model, whole), modules_to_save=whole or None
    )
    # A path of one's own disk is no name of the Hub, and nobody else's business.
    name = model.name_or_path
    config.base_model_name_or_path = name if name and not Path(name).exists() else None
    inject_adapter_in_model(config, model)


def has_lora(model: nn.Module) -> bool:
    """Whether a model has adapters that are not merged."""
    return hasattr(model, "peft_config")


def _lora_config(model: nn.Module) -> "LoraConfig":
    (config,) = vars(model)["peft_config"].values()
    return config


def save_lora(model: PreTrainedModel, folder: str | Path) -> None:
    """Save a model's adapter, and nothing else, in peft's own files."""
    _lora_config(model).save_pretrained(str(folder))
    weights = {_PEFT_PREFIX + name: weight.contiguous() for name, weight in _adapter_weights(model).items()}
    save_file(weights, Path(folder) / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def load_lora(model: PreTrainedModel, folder: str | Path) -> None:
    """Read the weights of an adapter, from safetensors alone, into the same adapter of `model`.

    Raises:
        FileNotFoundError: If the folder holds no adapter.
        ValueError: If the adapter is another one, of other layers or another rank.
    """
    from peft import set_peft_model_state_dict

    file = Path(folder) / ADAPTER_WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no adapter: it was trained without --use_lora, so leave that out.")
    weights = {name.removeprefix(_PEFT_PREFIX): weight for name, weight in load_file(file).items()}
    expected = {name: weight.shape for name, weight in _adapter_weights(model).items()}
    if expected != {name: weight.shape for name, weight in weights.items()}:
        raise ValueError(f"The adapter in {folder} has other layers or another rank: give the arguments of its run.")
    set_peft_model_state_dict(model, weights)


def refuse_adapter(folder: str | Path) -> None:
    """Make sure that a checkpoint to be read into a model without adapters is no adapter.

    Raises:
        ValueError: If it is one.
    """
    if (Path(folder) / ADAPTER_WEIGHTS).is_file():
        raise ValueError(f"{folder} holds an adapter: give --use_lora and --lora_rank as when it was trained.")


def finish_lora(model: PreTrainedModel, output_dir: str | Path, save: bool = True) -> None:
    """Save a model's adapter in `output_dir`/adapter, as peft reads it, and merge it into the weights.

    A model without adapters clears away the adapter of an earlier run, which is not its own.

    Args:
        model: The model, changed in place: a plain one afterwards, which `save_pretrained` writes whole.
        output_dir: Folder of the run's results.
        save: Whether this process writes files.
    """
    folder = Path(output_dir) / ADAPTER_FOLDER
    if save and folder.is_dir():
        rmtree(folder)
    if has_lora(model):
        if save:
            save_lora(model, folder)
        _merge(model)


def describe_lora(model: nn.Module) -> str | None:
    """One line for a model card; None for a model without adapters."""
    if not has_lora(model):
        return None
    config = _lora_config(model)
    new = f", and new modules: {', '.join(sorted(config.modules_to_save))}" if config.modules_to_save else ""
    return f"LoRA of rank {config.r}, alpha {config.lora_alpha}{new}"


def _merge(model: PreTrainedModel) -> None:
    """Put plain modules back: linear layers with their adapters added, new modules as trained."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
        elif isinstance(module, ModulesToSaveWrapper):
            (adapter,) = module.active_adapters
            model.set_submodule(name, module.modules_to_save[adapter])
    del model.peft_config


def _adapter_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    # By default peft looks on the Hub whether the vocabulary has grown.
    return get_peft_model_state_dict(model, save_embedding_layers=False)


def _linear_layers(model: nn.Module, without: Sequence[str]) -> list[str]:
    """Names of the linear layers whose weights could be trained and belong to no embedding; none `without` holds."""
    embeddings = _embedding_weights(model)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.weight.requires_grad
        and module.weight not in embeddings
        and not _is_inside(name, without)
    ]


def _outermost(model: nn.Module, parts: Sequence[str]) -> list[str]:
    """Names of the largest modules named by `parts`, with weights of which none belongs to an embedding elsewhere."""
    found: list[str] = []
    for name, module in model.named_modules():  # what holds comes before what is held
        weights = set(module.parameters())
        named = any(part in name for part in parts) and not _is_inside(name, found)
        if named and weights and not weights & (_embedding_weights(model) - _embedding_weights(module)):
            found.append(name)
    return found


def _embedding_weights(module: nn.Module) -> set[torch.Tensor]:
    return {child.weight for child in module.modules() if isinstance(child, nn.Embedding)}


def _is_inside(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)
