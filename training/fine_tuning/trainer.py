"""Fine-tuning on visual question answering: the trainer and its arguments."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler
from tqdm.auto import tqdm
from transformers import EvalPrediction, TrainerCallback
from transformers.trainer_utils import PredictionOutput
from transformers.utils import logging

from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering, AmifVisualQuestionAnsweringOutput, answer_loss
from ...processing_amif import AmifProcessor
from ..checkpoints.resumable_trainer import ResumableArguments, ResumableTrainer
from ..data.augmentation import LateralitySafeAugmentation
from ..data.sampler import ImageGroupedSampler, LengthGroupedSampler
from ..data.vqa_collator import AmifVqaCollator, vqa_lengths
from ..data.vqa_rows import VqaRows
from ..distributed import choose_device_and_precision, unsharded
from ..evaluation.accuracy import VqaAccuracy
from ..evaluation.fingerprint import prediction_fingerprint
from ..evaluation.partial_predictions import Answer, PartialPredictions
from .answer_checks import check_predictions_differ, check_validation_answers
from .cached_images import encode_unique_images
from .parameter_groups import layer_decay_factors, train_last_blocks

logger = logging.get_logger(__name__)

# What a text encoder's checkpoint does not bring: all between encoders and decoder, and the decoder's answer head.
FUSION_MODULES = ("_projection", "co_attention", "knowledge_fusion", "crossattention", "decoder.cls", "decoder.lm_head")

# What a pre-training checkpoint does not bring; a co-attention it brings trained of AMiF's second stage alone.
NEW_AFTER_PRETRAINING = ("decoder_projection", *FUSION_MODULES[1:])


@dataclass
class AmifVqaArguments(ResumableArguments):
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
    vision_layer_decay: float | None = field(
        default=None,
        metadata={
            "help": "Multiply the vision encoder's rate by this, say 0.75, once for each block below the last. None "
            "trains all blocks at one rate."
        },
    )
    weight_decay: float = field(default=0.05, metadata={"help": "Weight decay of AdamW."})
    metric_for_best_model: str | None = field(default="accuracy", metadata={"help": "What makes a checkpoint best."})
    greater_is_better: bool | None = field(default=True, metadata={"help": "Whether more of it is better."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Whether a resumed run remembers how long early stopping has waited."}
    )
    label_names: list[str] | None = field(default_factory=lambda: ["labels"], metadata={"help": "Leave as it is."})
    freeze_vision_encoder: bool = field(
        default=False,
        metadata={
            "help": "Keep the vision encoder as it is. Each image is then encoded once, or with augment_images once an "
            "epoch, in one draw for all its questions."
        },
    )
    trained_vision_blocks: int | None = field(
        default=None, metadata={"help": "Train only so many last blocks of the vision encoder; None trains all of it."}
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
        if self.train_sampling_strategy == "group_by_length":
            self._check_grouping_by_length()
        if self.freeze_vision_encoder and self.trained_vision_blocks is not None:
            raise ValueError(
                f"--freeze_vision_encoder trains none of the vision encoder, --trained_vision_blocks "
                f"{self.trained_vision_blocks} a part of it: drop one of them."
            )
        if self.vision_layer_decay is not None and not 0 < self.vision_layer_decay <= 1:
            raise ValueError(f"--vision_layer_decay {self.vision_layer_decay}: give more than 0 and at most 1.")
        choose_device_and_precision(self)
        super().__post_init__()

    def _check_grouping_by_length(self) -> None:
        if self.questions_per_image is not None:
            raise ValueError(
                f"--questions_per_image {self.questions_per_image} groups questions by image, "
                "--train_sampling_strategy group_by_length by length: drop one of them."
            )
        if self.gradient_accumulation_steps == 1:
            raise ValueError(
                "--train_sampling_strategy group_by_length sorts an optimizer step's questions into its batches, and "
                "here a step is one batch: give, say, a quarter of --per_device_train_batch_size and "
                "--gradient_accumulation_steps 4."
            )


class AmifVqaTrainer(ResumableTrainer):
    """Trains `AmifForVisualQuestionAnswering`, and evaluates it by the answers it gives.

    Data sets are rows of the package's schema. Each image is encoded once a batch, however many questions it has; where
    the vision encoder is frozen, once a run, or, augmented, once an epoch in one draw for all its questions.

    Args:
        model: The model to train.
        args: The arguments.
        train_dataset: Rows to learn from; rows without an answer are left out, and their number is logged.
        eval_dataset: Rows of the validation split.
        processing_class: The processor of images, questions and answers.
        candidates: Answers to choose from when evaluating; None generates freely.
        **kwargs: As for `transformers.Trainer`, but for `compute_metrics`.

    Raises:
        ValueError: If `compute_metrics` is given, or checkpoints shall be measured on rows without a single answer.
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
        elif args.trained_vision_blocks is not None:
            train_last_blocks(model.model.vision_model, args.trained_vision_blocks)
        if kwargs.get("compute_metrics") is not None:
            raise ValueError(
                "accuracy is measured here: leave compute_metrics out, and measure what predict_answers says."
            )
        if args.eval_strategy != "no":
            check_validation_answers(eval_dataset)
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
        self._train_sampler: ImageGroupedSampler | LengthGroupedSampler | None = None
        self.add_callback(_StartEpoch(self))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, AmifVisualQuestionAnsweringOutput]:
        """Negative log-likelihood of the answers (nats), summed over an answer's tokens, averaged over the batch.

        In training, targets are smoothed by `label_smoothing_factor`.
        """
        output = model(**{name: value for name, value in inputs.items() if name != "row"})
        if model.training and self.args.label_smoothing_factor:
            output.loss = answer_loss(
                output.logits, inputs["labels"], self.model.config.pad_token_id, self.args.label_smoothing_factor
            )
        return (output.loss, output) if return_outputs else output.loss

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's optimizer, with rates of their own for the vision encoder, its blocks and what is fused.

        Raises:
            ValueError: If rates shall fall from block to block of a vision encoder whose blocks are not found.
        """
        optimizer = super().create_optimizer(model)
        names = {parameter: name for name, parameter in (model or self.model).named_parameters()}
        rates = {"vision": self.args.vision_learning_rate, "fusion": self.args.fusion_learning_rate}
        factors = {}
        if self.args.vision_layer_decay is not None:
            vision_model = self.accelerator.unwrap_model(model or self.model).model.vision_model
            factors = layer_decay_factors(vision_model, self.args.vision_layer_decay)
        groups = []
        for group in optimizer.param_groups:
            parts: dict[float, list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                rate = rates.get(_part(names[parameter]))
                rate = group["lr"] if rate is None else rate
                parts.setdefault(rate * factors.get(parameter, 1.0), []).append(parameter)
            groups += [group | {"params": parameters, "lr": rate} for rate, parameters in parts.items()]
        optimizer.param_groups[:] = groups
        return optimizer

    def evaluate(
        self,
        eval_dataset: Dataset | dict[str, Dataset] | str | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Answer the questions of a data set (the validation split by default) and measure `accuracy` in percent.

        Of a dictionary each set is measured under its own prefix, as the Trainer does.
        """
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str):  # the Trainer's way to name one of its dictionary
            dataset = self.eval_dataset[dataset]
        if isinstance(dataset, dict):
            return super().evaluate(dataset, ignore_keys, metric_key_prefix)
        with self._measuring(dataset):
            return super().evaluate(dataset, ignore_keys, metric_key_prefix)

    def predict(
        self, test_dataset: Dataset, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """As the Trainer's, with `accuracy` in percent; `predict_answers` gives the answers as texts, in order."""
        with self._measuring(test_dataset):
            return super().predict(test_dataset, ignore_keys, metric_key_prefix)

    @contextmanager
    def _measuring(self, dataset: Dataset) -> Iterator[None]:
        self.compute_metrics = partial(self._accuracy, list(dataset["answer"]))
        try:
            with unsharded(self.model):
                yield
        finally:
            self.compute_metrics = None

    def predict_answers(
        self, dataset: Dataset, folder: str | Path | None = None
    ) -> tuple[list[str], list[float | None]]:
        """Answer every question of a data set, image by image; several processes share the batches.

        Args:
            dataset: Rows of the schema.
            folder: Where the answers are written as they come, for an interrupted call to go on from; see
                `PartialPredictions`. None keeps them in memory alone.

        Returns:
            In the order of the rows, the answers and their log-likelihoods (nats), None for those generated freely.
        """
        with unsharded(self.model):
            answers = self._answers_of_rows(dataset, folder)
        texts, scores = zip(*(answers[row] for row in range(len(dataset))), strict=True)
        return list(texts), list(scores)

    def _answers_of_rows(self, dataset: Dataset, folder: str | Path | None) -> dict[int, Answer]:
        rows = self._rows(dataset)
        order, size = list(self._get_eval_sampler(rows)), self.args.per_device_eval_batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        partial_predictions = None if folder is None else self._partial_predictions(dataset, folder)
        answers = {} if partial_predictions is None else partial_predictions.read()
        self.accelerator.wait_for_everyone()  # no process appends before all have read
        # Whole batches: in other company, and padded otherwise, a question's score may differ in the last digit.
        waiting = [batch for batch in batches if not answers.keys() >= set(batch)]
        own = waiting[self.args.process_index :: self.args.world_size]
        return answers | dict(gather_object(list(self._answer_batches(rows, own, partial_predictions))))

    def _partial_predictions(self, dataset: Dataset, folder: str | Path) -> PartialPredictions:
        fingerprint = [
            prediction_fingerprint(
                self.accelerator.unwrap_model(self.model),
                self.processing_class,
                dataset,
                candidates=self.candidates,
                batch_size=self.args.per_device_eval_batch_size,
                precision=self.accelerator.mixed_precision,
                attention=self.model.config._attn_implementation,
                cached=self.args.freeze_vision_encoder,
            )
        ]
        broadcast_object_list(fingerprint)
        partial_predictions = PartialPredictions(folder, fingerprint[0], self.args.process_index)
        if self.is_world_process_zero():
            partial_predictions.tidy()
        self.accelerator.wait_for_everyone()
        return partial_predictions

    def _answer_batches(
        self, rows: VqaRows, batches: list[list[int]], partial_predictions: PartialPredictions | None
    ) -> Iterator[tuple[int, Answer]]:
        model = self.accelerator.unwrap_model(self.model).to(self.args.device).eval()
        question_ids = rows.dataset["question_id"]
        workers = self.args.dataloader_num_workers
        loader = DataLoader(rows, batch_sampler=batches, collate_fn=self.collator, num_workers=workers)
        for batch in tqdm(loader, desc="Answering", disable=self.args.disable_tqdm or not self.is_local_process_zero()):
            _, (predictions, scores), places = self.prediction_step(model, batch, prediction_loss_only=False)
            places = places.tolist()
            answers = list(zip(self._texts(predictions.cpu().numpy()), self._scores(scores), strict=True))
            if partial_predictions is not None:
                partial_predictions.append(places, [question_ids[place] for place in places], answers)
            yield from zip(places, answers, strict=True)

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
        ranking = model.rank_answers(**inputs, answers=self.processing_class.encode_candidates(self.candidates))
        return ranking.indices, ranking.scores[:, 0]

    def _accuracy(self, references: list[str | None], prediction: EvalPrediction) -> dict[str, float | None]:
        answers = self._texts(prediction.predictions[0][prediction.label_ids.argsort()])
        check_predictions_differ(answers, references)
        # In memory: a file in the user's cache folder would be one for all processes.
        measured = VqaAccuracy(keep_in_memory=True).compute(predictions=answers, references=references)
        return {"accuracy": measured["accuracy"]}

    def _texts(self, predictions: np.ndarray) -> list[str]:
        if self.candidates is not None:
            return [self.candidates[index] for index in predictions[:, 0]]
        # Batches of unequal length are filled up with -100.
        tokens = np.where(predictions == -100, self.processing_class.tokenizer.pad_token_id, predictions)
        return self.processing_class.batch_decode(tokens, skip_special_tokens=True)

    def _scores(self, scores: torch.Tensor) -> list[float | None]:
        return [None] * len(scores) if self.candidates is None else scores.tolist()

    def _get_dataloader(self, dataset: Dataset, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader:
        self.data_collator = self._training_collator() if is_training else self.collator
        rows = self._rows(dataset, is_training and self.args.augment_images)
        return super()._get_dataloader(rows, *args, is_training=is_training, **kwargs)

    def _training_collator(self) -> AmifVqaCollator:
        return AmifVqaCollator(self.processing_class, self._augmentation())

    def _augmentation(self) -> LateralitySafeAugmentation | None:
        if not self.args.augment_images:
            return None
        return LateralitySafeAugmentation(self.model.config.vision_config.image_size, self.args.seed)

    def _rows(self, dataset: Dataset, augmented: bool = False) -> VqaRows:
        # The same data may be trained on with augmentation and evaluated without.
        key = (dataset._fingerprint, augmented)
        if key not in self._prepared_rows:
            cached = self.args.freeze_vision_encoder and not augmented
            self._prepared_rows[key] = VqaRows(dataset, self._image_states(dataset) if cached else None)
        return self._prepared_rows[key]

    def _image_states(self, dataset: Dataset, **augmentation: Any) -> dict[str, torch.Tensor]:
        model = self.accelerator.unwrap_model(self.model)
        with self.accelerator.autocast():
            return encode_unique_images(
                model,
                self.processing_class,
                dataset,
                self.args.per_device_eval_batch_size,
                progress=self.is_local_process_zero() and not self.args.disable_tqdm,
                **augmentation,
            )

    def start_epoch(self, epoch: int) -> None:
        """Tell rows and sampler of an epoch, counted from 0, and draw its augmentation of images encoded once."""
        for (_, augmented), rows in self._prepared_rows.items():
            rows.set_epoch(epoch)
            if augmented and self.args.freeze_vision_encoder:
                states = self._image_states(rows.dataset, augmentation=self._augmentation(), epoch=epoch)
                rows.set_image_states(states)
        if self._train_sampler is not None:
            self._train_sampler.set_epoch(epoch)

    def _get_train_sampler(self, train_dataset: VqaRows | None = None) -> Sampler:
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        if self.args.questions_per_image is not None:
            self._train_sampler = ImageGroupedSampler(
                train_dataset.image_ids, self.args.questions_per_image, shuffle=True, seed=seed
            )
        elif self.args.train_sampling_strategy == "group_by_length":
            rows = train_dataset.dataset
            lengths = vqa_lengths(self.processing_class, rows["question"], rows["answer"])
            rows_a_step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
            self._train_sampler = LengthGroupedSampler(lengths, rows_a_step, seed)
        else:
            return super()._get_train_sampler(train_dataset)
        return self._train_sampler

    def _get_eval_sampler(self, eval_dataset: VqaRows) -> Sampler:
        return ImageGroupedSampler(eval_dataset.image_ids)


class _StartEpoch(TrainerCallback):
    """Tells the trainer of each new epoch; accelerate does not tell rows reliably where there are several processes."""

    def __init__(self, trainer: AmifVqaTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: AmifVqaArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Also after a resume in the middle of an epoch."""
        self.trainer.start_epoch(int(state.epoch))


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
