"""Which data a checkpoint has learned from, its starts included: what its card must state the licences of."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedConfig


def note_trained_on(config: PreTrainedConfig, datasets: Sequence[str]) -> None:
    """Add data sets to those that a checkpoint's configuration names, first learned from first.

    Args:
        config: of the model that learns.
        datasets: names; of paths and of "name=folder" the name alone is kept.
    """
    names = [Path(dataset.partition("=")[0]).name for dataset in datasets]
    config.trained_on = list(dict.fromkeys([*datasets_of(config), *names]))


def datasets_of(config: PreTrainedConfig | None) -> list[str]:
    """The data sets that a checkpoint's configuration names; none where it does not say."""
    return list(getattr(config, "trained_on", []))


__all__ = ["datasets_of", "note_trained_on"]
