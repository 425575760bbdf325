"""Small pre-training runs on a few generated studies, as the tests of every objective's trainer start them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from datasets import DatasetDict
from small_models import small_processor
from torch.testing import assert_close
from transformers import PreTrainedModel

from amif import AmifProcessor
from amif.training.data import StrongAugmentation, load_pretraining_dataset
from amif.training.pretraining.base_trainer import BasePreTrainer
from amif.training.pretraining.objectives import OBJECTIVES

SCHEDULE = {"num_train_epochs": 2, "per_device_train_batch_size": 14, "learning_rate": 1e-3, "logging_steps": 2}


@cache
def small_studies() -> DatasetDict:
    """42 studies for training, 6 for validation, of 32 pixels."""
    return load_pretraining_dataset("phantom", num_studies=60, image_size=32)


def spread_weights(model: PreTrainedModel) -> PreTrainedModel:
    """The model in evaluation mode, its weights spread wide enough that differences show."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "temperature" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def study_batch(lengths: tuple[int, ...], word_pieces: bool = False) -> dict[str, torch.Tensor]:
    """One image and one report of so many tokens for each length, padded to the first."""
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(lengths[0]) < torch.tensor(lengths)[:, None]).long()
    inputs = {
        "pixel_values": torch.randn(len(lengths), 3, 32, 32, generator=generator),
        "input_ids": torch.randint(3, 100, mask.shape, generator=generator) * mask,
        "attention_mask": mask,
        "text_group": torch.arange(len(lengths)),
    }
    return inputs | ({"continued": torch.zeros(mask.shape, dtype=torch.bool)} if word_pieces else {})


def pretrainer(
    objective: str,
    folder: Path,
    model: PreTrainedModel,
    processor: AmifProcessor | None = None,
    studies: DatasetDict | None = None,
    augmentation: StrongAugmentation | None = None,
    **arguments: object,
) -> BasePreTrainer:
    """A trainer of the objective; without studies it neither trains on nor evaluates any."""
    evaluates = {} if studies else {"eval_strategy": "no", "load_best_model_at_end": False}
    options = {"output_dir": str(folder), "report_to": "none", "disable_tqdm": True} | evaluates | arguments
    data = {"train_dataset": studies["train"], "eval_dataset": studies["validation"]} if studies else {}
    return OBJECTIVES[objective].trainer(
        model=model,
        args=OBJECTIVES[objective].arguments(**options),
        processing_class=processor or small_processor(),
        augmentation=augmentation,
        **data,
    )


def check_resumes(objective: str, folder: Path, new_model: Callable[[], PreTrainedModel], **options: object) -> None:
    """A run that is stopped in the middle of an epoch ends with the weights of the uninterrupted one."""
    arguments = SCHEDULE | {"save_strategy": "steps", "save_steps": 2, "save_total_limit": None}
    arguments |= {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": False, **options}
    arguments |= {"studies": small_studies(), "augmentation": StrongAugmentation(32, seed=0)}
    whole, resumed = (pretrainer(objective, folder, new_model(), **arguments) for _ in range(2))
    whole.train()
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-2"))
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert_close(value, expected[name], rtol=0, atol=1e-6, msg=name)
