"""Which data a checkpoint has learned from, its starts included: what its card must state the licences of."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from .lora import describe_lora


def note_trained_on(config: PreTrainedConfig, datasets: Sequence[str]) -> None:
    """Add data sets to those that a checkpoint's configuration names, first learned from first.

    Args:
        config: Of the model that learns.
        datasets: Names; of paths and of "name=folder" the name alone is kept.
    """
    names = [Path(dataset.partition("=")[0]).name for dataset in datasets]
    config.trained_on = list(dict.fromkeys([*datasets_of(config), *names]))


def datasets_of(config: PreTrainedConfig | None) -> list[str]:
    """The data sets that a checkpoint's configuration names; none where it does not say."""
    return list(getattr(config, "trained_on", []))


def note_held_out(config: PreTrainedConfig, names: Sequence[str], validation_by: str) -> None:
    """Keep in a checkpoint's configuration which validation its pairs held out, for fine-tuning to refuse another.

    Args:
        config: Of the model that learns from the pairs; its `validation_by` may tell of earlier ones.
        names: Of the VQA sets that the pairs were made of and that have no validation split of their own.
        validation_by: What theirs was made of.

    Raises:
        ValueError: If earlier pairs of a set held out another validation.
    """
    known = getattr(config, "validation_by", {})
    for name in names:
        if known.get(name, validation_by) != validation_by:
            raise ValueError(
                f"This checkpoint read pairs of {name} with --validation_by {known[name]}: with {validation_by} it "
                f"reads what those held out. Give --validation_by {known[name]}, or start from another checkpoint."
            )
    config.validation_by = known | dict.fromkeys(names, validation_by)


def parameter_facts(model: torch.nn.Module) -> dict[str, str]:
    """How many parameters a model has, how many are trained, through which adapters, and how deep its encoders are."""
    parameters = list(model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    total = sum(map(torch.numel, parameters))
    facts = {"parameters": f"{total:,}, of them {trained:,} trained ({100 * trained / total:.2f} %)"}
    # Of a pretrained encoder the first layers alone may have been kept, which its name does not tell.
    configs = {name: getattr(getattr(model, "config", None), f"{name}_config", None) for name in ("vision", "text")}
    depths = {name: getattr(config, "num_hidden_layers", None) for name, config in configs.items()}
    if stated := [f"{name} {depth}" for name, depth in depths.items() if depth is not None]:
        facts["encoder layers"] = ", ".join(stated)
    if (adapters := describe_lora(model)) is not None:
        facts["adapters"] = adapters
    return dict(sorted(facts.items()))  # as the Trainer's state gives them back, which sorts its names
