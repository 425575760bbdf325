"""Fine-tuning on visual question answering: the trainer and its arguments."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from ..modeling_amif.modeling_amif import AmifForVisualQuestionAnswering, AmifVisualQuestionAnsweringOutput
from ..processing_amif import AmifProcessor
from .data.augmentation import LateralitySafeAugmentation
from .data.sampler import ImageGroupedSampler
from .data.vqa_collator import AmifVqaCollator
from .data.vqa_rows import VqaRows
from .evaluation.accuracy import VqaAccuracy
from .image_states import encode_unique_images

logger = logging.get_logger(__name__)

# What a text encoder's checkpoint does not bring: all between encoders and decoder, and the decoder's answer head.
FUSION_MODULES = ("_projection", "co_attention", "knowledge_fusion", "crossattention", "decoder.cls", "decoder.lm_head")


@dataclass
class AmifVqaArguments(TrainingArguments):
    """Training arguments whose defaults are the paper's recipe (supplement 6; the warm-up is its authors' code's).

    A checkpoint is kept and evaluated on the validation split every epoch, and the best one is loaded at the end.
    """

    output_dir: str = field(default="amif-vqa", metadata={"help": "Folder of the checkpoint and all results."})
    num_train_epochs: float = field(default=60, metadata={"help": "Passes over the training questions."})
    per_device_train_batch_size: int = field(default=64, metadata={"help": "Questions a step and device."})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "Questions a step when evaluating."})
    learning_rate: float = field(default=2e-5, metadata={"help": "Peak learning rate of AdamW."})
    fusion_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Peak learning rate of projections, co-attention, knowledge fusion, cross-attention, answer head, "
            "which are new where encoders and decoder are pretrained. None: as learning_rate."
        },
    )
    vision_learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate of the vision encoder. None: as learning_rate."}
    )
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Schedule of the learning rate."})
    warmup_steps: float = field(default=0.4, metadata={"help": "Steps of linear warm-up; below 1, their share."})
    weight_decay: float = field(default=0.05, metadata={"help": "Weight decay of AdamW."})
    adam_beta2: float = field(default=0.98, metadata={"help": "Second beta of AdamW."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate on the validation split."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints kept beside the best one."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Load the best on validation at the end."})
    metric_for_best_model: str | None = field(default="accuracy", metadata={"help": "What makes a checkpoint best."})
    greater_is_better: bool | None = field(default=True, metadata={"help": "Whether more of it is better."})
    logging_steps: float = field(default=20, metadata={"help": "Steps between two reports of the loss."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave off: the collator reads the rows."})
    label_names: list[str] | None = field(default_factory=lambda: ["labels"], metadata={"help": "Leave as it is."})
    freeze_vision_encoder: bool = field(
        default=False,
        metadata={"help": "Keep the vision encoder as it is. Without augmentation each image is then encoded once."},
    )
    augment_images: bool = field(
        default=False,
        metadata={"help": "Random crops, shifts, brightness and contrast in training; left and right never change."},
    )
    questions_per_image: int | None = field(
        default=None,
        metadata={"help": "Put so many questions of an image into a training batch; None draws questions at random."},
    )

    def __post_init__(self) -> None:
        # Without an accelerator the Trainer falls back to the CPU, but refuses bf16 there unless it was asked for.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        super().__post_init__()


class AmifVqaTrainer(Trainer):
    """Trains `AmifForVisualQuestionAnswering`, and evaluates it by the answers it gives.

    Data sets are rows of the package's schema. Each image is encoded once a batch, however many questions it has; where
    the vision encoder is frozen and images are not augmented, once a run.

    Args:
        model: The model to train.
        args: The arguments.
        train_dataset: Rows to learn from; rows without an answer are left out, and their number is logged.
        eval_dataset: Rows of the validation split.
        processing_class: The processor of images, questions and answers.
        candidates: Answers to choose from when evaluating; None generates freely.
        **kwargs: As for `transformers.Trainer`.
    """

    # The loss is a mean over the batch, so the Trainer must divide it by the accumulation steps.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: AmifForVisualQuestionAnswering,
        args: AmifVqaArguments,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        processing_class: AmifProcessor | None = None,
        candidates: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if args.freeze_vision_encoder:
            model.model.vision_model.requires_grad_(False)
        self.collator = AmifVqaCollator(processing_class)
        super().__init__(
            model=model,
            args=args,
            data_collator=self.collator,
            train_dataset=None if train_dataset is None else _answered(train_dataset),
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        self.candidates = candidates
        self._prepared_rows: dict[tuple[str, bool], VqaRows] = {}
        self._train_sampler: ImageGroupedSampler | None = None
        self.add_callback(_EpochOfRows(self))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, AmifVisualQuestionAnsweringOutput]:
        """Negative log-likelihood of the answers (nats), summed over an answer's tokens, averaged over the batch."""
        output = model(**{name: value for name, value in inputs.items() if name != "row"})
        return (output.loss, output) if return_outputs else output.loss

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's optimizer, with `vision_learning_rate` and `fusion_learning_rate` for their parts."""
        optimizer = super().create_optimizer(model)
        names = {parameter: name for name, parameter in (model or self.model).named_parameters()}
        rates = {"vision": self.args.vision_learning_rate, "fusion": self.args.fusion_learning_rate}
        groups = []
        for group in optimizer.param_groups:
            parts: dict[float, list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                rate = rates.get(_part(names[parameter]))
                parts.setdefault(group["lr"] if rate is None else rate, []).append(parameter)
            groups += [group | {"params": parameters, "lr": rate} for rate, parameters in parts.items()]
        optimizer.param_groups[:] = groups
        return optimizer

    def evaluate(
        self, eval_dataset: Dataset | None = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Answer the questions of a data set (the validation split by default) and measure `accuracy` in percent."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        self.compute_metrics = partial(self._accuracy, list(dataset["answer"]))
        return super().evaluate(dataset, ignore_keys, metric_key_prefix)

    def predict_answers(self, dataset: Dataset) -> tuple[list[str], list[float | None]]:
        """Answer every question of a data set, image by image.

        Returns:
            In the order of the rows, the answers and their log-likelihoods (nats), None for those generated freely.
        """
        self.compute_metrics = None
        output = self.predict(dataset)
        return self._texts_in_order(output.predictions, output.label_ids)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Answer a batch: the indices of the best candidates, or generated tokens; scores; and the rows answered."""
        inputs = self._prepare_inputs(inputs)
        rows = inputs.pop("row")
        inputs.pop("labels", None)
        with torch.no_grad(), self.accelerator.autocast():
            return None, self._answer(self.accelerator.unwrap_model(model), inputs), rows

    def _answer(
        self, model: AmifForVisualQuestionAnswering, inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.candidates is None:
            tokens = model.generate(**inputs)
            return tokens, torch.full((len(tokens),), torch.nan, device=tokens.device)
        ranking = model.rank_answers(**inputs, answers=self.processing_class.encode_answers(self.candidates))
        return ranking.indices, ranking.scores[:, 0]

    def _accuracy(self, references: list[str | None], prediction: EvalPrediction) -> dict[str, float | None]:
        answers, _ = self._texts_in_order(prediction.predictions, prediction.label_ids)
        return {"accuracy": VqaAccuracy().compute(predictions=answers, references=references)["accuracy"]}

    def _texts_in_order(self, predictions: tuple[Any, Any], rows: Any) -> tuple[list[str], list[float | None]]:
        answers, scores = predictions
        order = rows.argsort()
        if self.candidates is None:
            # Batches of unequal length are filled up with -100.
            tokens = answers[order].clip(min=0)
            return self.processing_class.batch_decode(tokens, skip_special_tokens=True), [None] * len(order)
        return [self.candidates[index] for index in answers[order, 0]], scores[order].tolist()

    def _get_dataloader(self, dataset: Dataset, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader:
        self.data_collator = self._training_collator() if is_training else self.collator
        cached = self.args.freeze_vision_encoder and not (is_training and self.args.augment_images)
        return super()._get_dataloader(self._rows(dataset, cached), *args, is_training=is_training, **kwargs)

    def _training_collator(self) -> AmifVqaCollator:
        if not self.args.augment_images:
            return self.collator
        image_size = self.model.config.vision_config.image_size
        return AmifVqaCollator(self.processing_class, LateralitySafeAugmentation(image_size, self.args.seed))

    def _rows(self, dataset: Dataset, cached: bool) -> VqaRows:
        # The same data may be trained on with augmentation and evaluated without.
        key = (dataset._fingerprint, cached)
        if key not in self._prepared_rows:
            self._prepared_rows[key] = VqaRows(dataset, self._image_states(dataset) if cached else None)
        return self._prepared_rows[key]

    def _image_states(self, dataset: Dataset) -> dict[str, torch.Tensor]:
        model = self.accelerator.unwrap_model(self.model)
        with self.accelerator.autocast():
            return encode_unique_images(
                model,
                self.processing_class,
                dataset,
                self.args.per_device_eval_batch_size,
                progress=self.is_local_process_zero() and not self.args.disable_tqdm,
            )

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        elif self.state.best_model_checkpoint is not None:
            self._load_weights(self.state.best_model_checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_weights(resume_from_checkpoint)

    def _load_weights(self, checkpoint: str) -> None:
        # Encoders are saved under other names than they have in memory. Only `from_pretrained` knows both; the
        # Trainer's own loading would leave such weights as they are, with no more than a warning.
        model = self.accelerator.unwrap_model(self.model)
        model.load_state_dict(type(model).from_pretrained(checkpoint, dtype=torch.float32).state_dict())

    def _get_train_sampler(self, train_dataset: VqaRows | None = None) -> Sampler:
        if self.args.questions_per_image is None:
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self._train_sampler = ImageGroupedSampler(
            train_dataset.image_ids, self.args.questions_per_image, shuffle=True, seed=seed
        )
        return self._train_sampler

    def _get_eval_sampler(self, eval_dataset: VqaRows) -> Sampler:
        return ImageGroupedSampler(eval_dataset.image_ids)


class _EpochOfRows(TrainerCallback):
    """Tells rows and sampler of each new epoch; accelerate does not reliably where there are several processes."""

    def __init__(self, trainer: AmifVqaTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: AmifVqaArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the epoch, counted from 0, also after a resume in the middle of one."""
        for rows in self.trainer._prepared_rows.values():
            rows.set_epoch(int(state.epoch))
        sampler = self.trainer._train_sampler
        if sampler is not None:
            sampler.set_epoch(int(state.epoch))


def _answered(dataset: Dataset) -> Dataset:
    rows = [row for row, answer in enumerate(dataset["answer"]) if answer is not None]
    if len(rows) < len(dataset):
        logger.warning(f"{len(dataset) - len(rows)} of {len(dataset)} training questions have no answer: left out.")
    return dataset.select(rows) if len(rows) < len(dataset) else dataset


def _part(name: str) -> str | None:
    """The part of the model that has a learning rate of its own, from a parameter's name."""
    if ".vision_model." in name:
        return "vision"
    return "fusion" if any(module in name for module in FUSION_MODULES) else None
