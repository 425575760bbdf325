"""What every way to pre-train on image-report pairs shares: arguments, rows, named terms, retrieval, global batch."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Protocol, cast

import PIL.Image
import torch
from accelerate.data_loader import SeedableRandomSampler, get_sampler
from datasets import Dataset, DatasetDict, IterableDataset
from torch.utils.data import DataLoader, SequentialSampler
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import EvalLoopOutput, TrainOutput

from ...modeling_amif.dual_encoder_amif import AmifDualEncoder
from ...processing_amif import AmifProcessor
from ..checkpoints.resumable_arguments import ResumableArguments
from ..checkpoints.resumable_trainer import ResumableTrainer
from ..data.pretraining_collator import AmifPreTrainingCollator, report_length
from ..data.pretraining_rows import PretrainingRows, PretrainingStream
from ..distributed import choose_device_and_precision, gather_rows
from ..losses import cosine_similarities, info_nce, retrieval_recall
from .cost import StepFlops, training_cost


@dataclass
class BasePreTrainingArguments(ResumableArguments):
    """Training arguments of every objective, so that objectives can be compared.

    The rate is AMiF's (supplement 6 of arXiv 2510.08791, which has 20 and 10 epochs in batches of 256), the warm-up its
    authors' code's.
    """

    output_dir: str = field(default="amif-pretrained", metadata={"help": "Folder of the checkpoint and all results."})
    num_train_epochs: float = field(default=10, metadata={"help": "Passes over the training studies."})
    per_device_train_batch_size: int = field(default=64, metadata={"help": "Studies a step and device."})
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Studies a step when evaluating."})
    learning_rate: float = field(default=4e-6, metadata={"help": "Peak learning rate of AdamW."})
    weight_decay: float = field(default=0.02, metadata={"help": "Weight decay of AdamW."})
    label_names: list[str] | None = field(default_factory=lambda: ["text_group"], metadata={"help": "Leave as it is."})
    freeze_temperatures: bool = field(default=False, metadata={"help": "Keep learnable temperatures as they are."})
    freeze_encoders: bool | None = field(
        default=None, metadata={"help": "Train what stands on the encoders alone; None: in AMiF's stage local."}
    )
    count_flops: bool = field(
        default=False, metadata={"help": "Count the floating-point operations of the first step, for the run's cost."}
    )

    # What fields of a subclass may be.
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        for name, choices in self.choices.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; choose one of {choices}.")
        self._check_loss_weights()
        choose_device_and_precision(self)
        super().__post_init__()

    @property
    def loss_weights(self) -> tuple[str, ...]:
        """Names of the fields that weight the losses; a subclass says which are minimised."""
        return ()

    def _check_loss_weights(self) -> None:
        weights = {name: getattr(self, name) for name in self.loss_weights}
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"--{name} {weight}: a loss is weighted by 0 or more.")
        if weights and not any(weights.values()):
            raise ValueError(f"--{', --'.join(weights)}: all are 0, and nothing would be learned; give one a value.")


class PairOutput(Protocol):
    """What every model for pre-training gives of a batch of B studies in V views."""

    image_embeds: torch.Tensor  # (V, B, d) unit vectors
    text_embeds: torch.Tensor  # (B, d) unit vectors
    temperatures: torch.Tensor  # of whole images and reports the first


class BasePreTrainer(ResumableTrainer):
    """Trains a model with `embed_images` and `embed_texts` on image-report pairs.

    A subclass says what is minimised, in `training_loss`, and hands its named terms to `_keep`.

    Args:
        model: The model to train, whose output is a `PairOutput`; None where `model_init` makes it.
        args: The arguments; None takes their defaults.
        processing_class: The processor of images and reports.
        train_dataset: Rows of `load_pretraining_dataset`, or a stream of them, which needs `max_steps`.
        eval_dataset: Rows of the validation split, or, in a single process, a stream of them.
        augmentation: Of each view in training; see `AmifPreTrainingCollator`.
        compute_metrics: Gives further metrics from an `EvalPrediction` of the embeddings of images and reports, with
            numbers as `label_ids` that are equal for equal reports.
        **kwargs: As for `transformers.Trainer`.
    """

    # The losses are means over the batch, so the Trainer must divide them by the accumulation steps.
    loss_is_scaled_for_ga = False
    # What the objective asks of `AmifPreTrainingCollator`.
    collator_options: Mapping[str, Any] = {}

    model: AmifDualEncoder
    args: BasePreTrainingArguments
    arguments_class = BasePreTrainingArguments
    processing_class: AmifProcessor

    def __init__(
        self,
        model: AmifDualEncoder | None = None,
        args: BasePreTrainingArguments | None = None,
        *,
        processing_class: AmifProcessor,
        train_dataset: Dataset | IterableDataset | None = None,
        eval_dataset: Dataset | IterableDataset | None = None,
        augmentation: Callable[..., PIL.Image.Image] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_metrics=partial(_retrieval_metrics, further=compute_metrics),
            **kwargs,
        )
        collator = AmifPreTrainingCollator(
            processing_class, augmentation, report_length(self.model), self.args.seed, **self.collator_options
        )
        self._collators = {True: collator, False: replace(collator, augmentation=None)}
        self.data_collator = collator
        self._terms: dict[tuple[bool, str], list[torch.Tensor]] = defaultdict(list)
        self._step_flops = StepFlops()
        self._cpu_seconds = 0.0
        self.add_callback(_EpochOfRows())

    def prepare_model(self, model: PreTrainedModel) -> None:
        """Train or keep what the arguments say."""
        model = cast(AmifDualEncoder, model)
        model.log_temperatures.requires_grad_(not self.args.freeze_temperatures)
        model.model.vision_model.requires_grad_(not self.args.freeze_encoders)
        model.model.text_model.requires_grad_(not self.args.freeze_encoders)

    @property
    def evaluation_collator(self) -> AmifPreTrainingCollator:
        """Makes batches of rows as evaluation meets them, without augmentation."""
        return self._collators[False]

    @property
    def cost(self) -> dict[str, float]:
        """`training_cost` of the run that has ended; `flops` only with `count_flops`."""
        args = self.args
        studies = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        flops = self._step_flops.first_step
        batches = args.gradient_accumulation_steps * args.world_size
        return training_cost(self.state, self._cpu_seconds, studies, None if flops is None else flops * batches)

    def rows_read(self, splits: DatasetDict) -> dict[str, Sequence[int]]:
        """Which rows of which splits a run reads, for a teacher that shall embed no others.

        Those of training are, where it ends within its first epoch, the first ones of the sampler's order, with what
        the data loader fetches ahead; validation is read with `do_eval`, which every `eval_strategy` but "no" implies,
        and test with `do_predict`.

        Args:
            splits: Of them the trainer has "train" as its `train_dataset`, if it trains; streams are left out.

        Returns:
            The places of the rows, in rising order, by split.
        """
        asked = {"train": self.train_dataset is not None, "validation": self.args.do_eval, "test": self.args.do_predict}
        read: dict[str, Sequence[int]] = {
            name: range(len(splits[name]))
            for name, is_asked in asked.items()
            if is_asked and isinstance(splits.get(name), Dataset)
        }
        if "train" not in read:
            return read
        loader = self.get_train_dataloader()
        _, steps_an_epoch, *_, steps = self.set_initial_training_values(self.args, loader)
        # An order that is drawn from torch's common random state is not known before.
        order = get_sampler(loader)
        if steps < steps_an_epoch and isinstance(order, SeedableRandomSampler | SequentialSampler):
            ahead = 1 + loader.num_workers * (loader.prefetch_factor or 0)
            batches = (steps * self.args.gradient_accumulation_steps + ahead) * self.args.world_size
            read["train"] = sorted(islice(order, batches * self.args.train_batch_size))
        return read

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """As `ResumableTrainer.train`."""
        start = time.process_time()
        output = super().train(*args, **kwargs)
        self._cpu_seconds = time.process_time() - start
        return output

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As the Trainer's; of the first one the floating-point operations are counted, if that is asked for."""
        if not self.args.count_flops:
            return super().training_step(*args, **kwargs)
        with self._step_flops.counting():
            return super().training_step(*args, **kwargs)

    def training_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, PairOutput]:
        """The weighted sum of the objective's losses for a batch, and the model's output."""
        raise NotImplementedError

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, PairOutput]:
        """As the Trainer calls it: `training_loss`, with the output where it is asked for."""
        loss, output = self.training_loss(model, inputs)
        return (loss, output) if return_outputs else loss

    def _contrast(self, output: PairOutput) -> dict[str, torch.Tensor]:
        """InfoNCE of images and reports over the global batch, "i2t" and "t2i", at the first temperature."""
        similarity = cosine_similarities(gather_rows(output.image_embeds[0]), gather_rows(output.text_embeds))
        if self._reports_health():
            self._keep({"recall_i2t": retrieval_recall(similarity)})
            self._keep({f"temperature_{i + 1}": value for i, value in enumerate(output.temperatures)})
        return dict(zip(("i2t", "t2i"), info_nce(similarity, output.temperatures[0]), strict=True))

    def _evaluation_generator(self, device: torch.device) -> torch.Generator | None:
        # Every evaluation meets the same draws, and leaves the training's random state as it was.
        return None if self.model.training else torch.Generator(device).manual_seed(self.args.seed)

    def _reports_health(self) -> bool:
        """Health figures cost time: in training they are taken from the steps that are logged."""
        every = max(1, int(self.state.logging_steps or 1))
        return not self.model.training or (self.state.global_step + 1) % every == 0

    def _keep(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self._terms[self.model.training, name].append(value.detach().float())

    def _take_means(self, training: bool) -> dict[str, float]:
        """Means of what was kept since the last call, over the steps that had one; evaluation's of all processes."""
        kept = {key: torch.stack(self._terms.pop(key)) for key in list(self._terms) if key[0] == training}
        sums = {key[1]: torch.stack([values.nansum(), (~values.isnan()).sum()]) for key, values in kept.items()}
        if not training:
            sums = self.accelerator.reduce(sums, reduction="sum")
        return {name: (total / count).item() for name, (total, count) in sums.items()}

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the named losses and health figures beside the loss."""
        if "loss" in logs:
            logs = logs | self._take_means(training=True)
        super().log(logs, *args, **kwargs)

    def evaluation_loop(
        self, dataloader: DataLoader, description: str, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> EvalLoopOutput:
        """The Trainer's loop; its metrics hold the named losses and recall@1, 5 and 10 over the whole split too."""
        output = super().evaluation_loop(dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        terms = self._take_means(training=False)
        named = {f"{metric_key_prefix}_{name}": value for name, value in terms.items()}
        return output._replace(metrics=(output.metrics or {}) | named)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The loss of a batch, the embeddings of its first views and reports, and its reports' groups."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, output = self.training_loss(model, inputs)
            images, texts = self._embeddings(inputs, output)
        return loss, (images.float(), texts.float()), inputs["text_group"]

    def _embeddings(self, inputs: dict[str, torch.Tensor], output: PairOutput) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, d) of the images and (B, d) of the reports of a batch, among which retrieval is measured."""
        return output.image_embeds[0], output.text_embeds

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """As the Trainer's, without the temperatures, which decay would draw towards 1."""
        return [name for name in super().get_decay_parameter_names(model) if "log_temperatures" not in name]

    def _get_dataloader(
        self, dataset: Dataset | IterableDataset, *args: Any, is_training: bool = False, **kwargs: Any
    ) -> DataLoader:
        self.data_collator = self._collators[is_training]
        if isinstance(dataset, IterableDataset) and not is_training and self.args.world_size > 1:
            raise ValueError(
                f"{self.args.world_size} processes cannot share a stream that is evaluated, whose last rows accelerate "
                "would repeat: give a data set of rows as eval_dataset."
            )
        rows = PretrainingStream(dataset) if isinstance(dataset, IterableDataset) else PretrainingRows(dataset)
        return super()._get_dataloader(rows, *args, is_training=is_training, **kwargs)


class _EpochOfRows(TrainerCallback):
    """Tells the training rows of each new epoch, which draws their views and augmentation."""

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        train_dataloader: DataLoader,
        **kwargs: Any,
    ) -> None:
        """Set the epoch, counted from 0, also after a resume in the middle of one."""
        if isinstance(rows := train_dataloader.dataset, PretrainingRows):
            rows.set_epoch(int(state.epoch or 0))


def _retrieval_metrics(
    prediction: EvalPrediction, further: Callable[[EvalPrediction], dict[str, float]] | None
) -> dict[str, float]:
    images, texts = (torch.as_tensor(embeds) for embeds in prediction.predictions)
    groups = torch.as_tensor(prediction.label_ids)
    relevant = groups.unsqueeze(1) == groups
    similarity = images @ texts.T
    recalls = {}
    for k in (1, 5, 10):
        recalls[f"recall_i2t@{k}"] = retrieval_recall(similarity, k, relevant).item()
        recalls[f"recall_t2i@{k}"] = retrieval_recall(similarity.T, k, relevant.T).item()
    return recalls | ({} if further is None else further(prediction))
