"""Runs of a model of any size on any device, whose steps are timed: what the tests of a GPU measure."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from datasets import Dataset, List, Value
from transformers import TrainerCallback
from transformers.trainer import Trainer

from amif import (
    AmifConfig,
    AmifForPreTraining,
    AmifForVisualQuestionAnswering,
    AmifPreTrainer,
    AmifPreTrainingArguments,
    AmifVqaArguments,
    AmifVqaTrainer,
)
from amif.training.data import load_pretraining_dataset, load_vqa_dataset
from amif.training.evaluation.protocols import candidate_answers
from amif.training.fine_tuning.knowledge import knowledge_ids
from amif.training.processors import small_processor
from amif.training.small_model import small_config

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# The first ones find memory, and are slow.
STEPS, WARMING_UP = 12, 4


class StepClock(TrainerCallback):
    """Seconds of each step, without the wait for its data."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begun = 0.0

    def on_step_begin(self, *_: object, **__: object) -> None:
        self._begun = self._now()

    def on_step_end(self, *_: object, **__: object) -> None:
        self.seconds.append(self._now() - self._begun)

    @staticmethod
    def _now() -> float:
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


@contextmanager
def measured(trainer: Trainer, what: str, examples_a_step: int) -> Iterator[None]:
    """Print peak memory and examples a second of the training within."""
    clock = StepClock()
    trainer.add_callback(clock)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    yield
    median = sorted(clock.seconds[WARMING_UP:])[(len(clock.seconds) - WARMING_UP) // 2]
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else float("nan")
    print(f"\n{what} on {device}: {examples_a_step / median:.1f} examples a second, peak memory {peak:.1f} GiB")


def check_learned(trainer: Trainer, start: dict[str, torch.Tensor]) -> None:
    """Losses are finite, and what is trained has moved."""
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == trainer.state.max_steps
    assert all(torch.isfinite(torch.tensor(losses)))
    moved = [name for name, tensor in trainer.model.named_parameters() if not torch.equal(tensor.cpu(), start[name])]
    trained = [name for name, tensor in trainer.model.named_parameters() if tensor.requires_grad]
    assert set(moved) <= set(trained)
    assert len(moved) > 0.9 * len(trained)


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies in the CPU's memory."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.named_parameters()}


def fine_tuning_trainer(
    folder: Path, config: AmifConfig | None, batch: int, studies: int = 150, **arguments: object
) -> AmifVqaTrainer:
    """A trainer of `STEPS` steps on phantom's questions; None is a small model of images of 32 pixels."""
    size = 32 if config is None else config.vision_config.image_size
    splits = load_vqa_dataset("phantom", num_studies=studies, image_size=size)
    answers = candidate_answers("clean", splits, "test")
    defaults = {"max_steps": STEPS, "eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    defaults |= {"per_device_train_batch_size": batch, "learning_rate": 1e-4, "logging_steps": 1, "disable_tqdm": True}
    args = AmifVqaArguments(**({"output_dir": str(folder)} | defaults | arguments))
    processor = small_processor([*answers, *splits["train"]["question"]], size)
    torch.manual_seed(0)
    model = AmifForVisualQuestionAnswering(config or small_config(processor, size))
    model.set_knowledge(knowledge_ids("answers", splits["train"], processor))
    return AmifVqaTrainer(model, args, splits["train"], splits["validation"], processor, answers)


def with_random_teacher(studies: Dataset, width: int = 32) -> Dataset:
    """Studies with unit vectors that stand for a teacher's embeddings."""
    draw = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(len(studies), 2, width, generator=draw), dim=-1)
    vector = List(Value("float32"))
    columns = {"teacher_image_embeds": vectors[:, 0].tolist(), "teacher_text_embeds": vectors[:, 1].tolist()}
    for name, values in columns.items():
        studies = studies.add_column(name, values, feature=vector)
    return studies


def pretraining_trainer(
    folder: Path, config: AmifConfig | None, stage: str, batch: int, studies: int = 400, **arguments: object
) -> AmifPreTrainer:
    """A trainer of `STEPS` steps of a stage on phantom's studies, with vectors that stand for a teacher's."""
    size = 32 if config is None else config.vision_config.image_size
    splits = load_pretraining_dataset("phantom", num_studies=studies, image_size=size)
    defaults = {"max_steps": STEPS, "eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    defaults |= {"per_device_train_batch_size": batch, "learning_rate": 1e-4, "logging_steps": 1, "disable_tqdm": True}
    args = AmifPreTrainingArguments(**({"output_dir": str(folder), "stage": stage} | defaults | arguments))
    processor = small_processor(splits["train"]["text"], size)
    torch.manual_seed(0)
    model = AmifForPreTraining(config or small_config(processor, size))
    train = with_random_teacher(splits["train"])
    return AmifPreTrainer(model, args, train_dataset=train, processing_class=processor)
