"""The ways to pre-train on image-report pairs, by name."""

from dataclasses import dataclass

import torch

from ...modeling_amif.aga_amif import AgaForPreTraining
from ...modeling_amif.dual_encoder_amif import AmifDualEncoder
from ...modeling_amif.mpma_amif import MpmaForPreTraining
from ...modeling_amif.pretraining_amif import AmifForPreTraining
from ...processing_amif import AmifProcessor
from ..checkpoints.model_files import architectures_of, load_checkpoint
from .aga_trainer import AgaPreTrainer, AgaPreTrainingArguments
from .amif_trainer import AmifPreTrainer, AmifPreTrainingArguments
from .arguments import AgaModelArguments, MpmaModelArguments, PretrainingModelArguments
from .base_trainer import BasePreTrainer, BasePreTrainingArguments
from .mpma_trainer import MpmaPreTrainer, MpmaPreTrainingArguments


@dataclass(frozen=True)
class Objective:
    """What one way to pre-train consists of; `description` is for a checkpoint's card."""

    model: type[AmifDualEncoder]
    model_arguments: type[PretrainingModelArguments]
    trainer: type[BasePreTrainer]
    arguments: type[BasePreTrainingArguments]
    description: str


OUR_READING = "as its abstract describes it: what that leaves open is this project's reading."

OBJECTIVES = {
    "amif": Objective(
        AmifForPreTraining,
        PretrainingModelArguments,
        AmifPreTrainer,
        AmifPreTrainingArguments,
        "Pre-trained with AMiF's alignment of images and reports (arXiv 2510.08791, sections 3.2 and 3.3).",
    ),
    "aga": Objective(
        AgaForPreTraining,
        AgaModelArguments,
        AgaPreTrainer,
        AgaPreTrainingArguments,
        f"Pre-trained with AGA, adaptive group alignment, {OUR_READING}",
    ),
    "mpma": Objective(
        MpmaForPreTraining,
        MpmaModelArguments,
        MpmaPreTrainer,
        MpmaPreTrainingArguments,
        "Pre-trained with MPMA, multi-task paired masking with alignment (doi 10.1109/tmm.2023.3325965), "
        f"{OUR_READING}",
    ),
}


def objective_of(name_or_path: str) -> str:
    """Which objective a pre-training checkpoint was trained with; the errors of its files are those of `check_model`.

    Raises:
        ValueError: If it is no pre-training checkpoint.
    """
    architectures = architectures_of(name_or_path)
    for name, objective in OBJECTIVES.items():
        if objective.model.__name__ in architectures:
            return name
    raise ValueError(
        f"{name_or_path} holds {', '.join(architectures) or 'no named model'}, which is no pre-training checkpoint: "
        "give one that run_pretraining.py wrote."
    )


def load_pretrained(name_or_path: str) -> tuple[str, AmifDualEncoder, AmifProcessor]:
    """A pre-training checkpoint's objective, its model in float32 on the fastest device, and its processor.

    The errors are those of `objective_of` and `load_checkpoint`.
    """
    objective = objective_of(name_or_path)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    model, processor = load_checkpoint(name_or_path, AmifDualEncoder)
    # transformers wraps the method, and says nothing of a device in its annotation.
    return objective, model.to(device), processor  # pyright: ignore[reportArgumentType]
