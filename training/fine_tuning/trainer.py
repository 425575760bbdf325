"""Fine-tuning on visual question answering: the trainer, which evaluates by the answers that the model gives."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from torch.utils.data import DataLoader, Sampler
from transformers import EvalPrediction, PreTrainedModel, TrainerCallback
from transformers.trainer_utils import PredictionOutput, TrainOutput
from transformers.utils import logging

from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering, AmifVisualQuestionAnsweringOutput, answer_loss
from ...processing_amif import AmifProcessor
from ..checkpoints.resumable_trainer import ResumableTrainer
from ..data.augmentation import LateralitySafeAugmentation
from ..data.mixtures import right_answers
from ..data.references import AcceptableAnswers, Reference, acceptable_answers
from ..data.sampler import ImageGroupedSampler, LengthGroupedSampler
from ..data.vqa_collator import AmifVqaCollator, vqa_lengths
from ..data.vqa_rows import VqaRows, VqaStream, read_stream
from ..distributed import unsharded
from ..evaluation.accuracy import VqaAccuracy
from ..evaluation.fingerprint import prediction_fingerprint
from ..evaluation.partial_predictions import PartialPredictions
from ..evaluation.prediction_rows import ScoredAnswer
from .answer_checks import check_predictions_differ, check_validation_answers
from .answering import Answerer, answer_rows, open_partial_predictions
from .cached_images import encode_unique_images
from .parameter_groups import layer_decay_factors, set_rates_by_part, train_last_blocks
from .training_arguments import AmifVqaArguments

logger = logging.get_logger(__name__)

VqaData = Dataset | IterableDataset


class AmifVqaTrainer(ResumableTrainer):
    """Trains `AmifForVisualQuestionAnswering`, and evaluates it by the answers it gives.

    Data sets are rows of the package's schema. Each image is encoded once a batch, however many questions it has; where
    the vision encoder is frozen, once a run, or, augmented, once an epoch in one draw for all its questions.

    Args:
        model: The model to train; None where `model_init` makes it.
        args: The arguments; None takes their defaults.
        train_dataset: Rows to learn from, or a stream of them, which needs `max_steps` and of which no image is kept.
            Rows without an answer are left out, and their number is logged where it is known.
        eval_dataset: Rows of the validation split; a stream is read to its end and kept.
        processing_class: The processor of images, questions and answers.
        candidates: Answers to choose from when evaluating; None generates freely.
        choices: Whether to choose among each row's own `choices` instead.
        compute_metrics: Gives further metrics from an `EvalPrediction` of texts, the answers given as `predictions` and
            those of the rows as `label_ids`, in the order of the rows.
        **kwargs: As for `transformers.Trainer`.

    Attributes:
        acceptable: How references are read; of several sets each question's as its own set's are.

    Raises:
        ValueError: If no processor is given; if there are no rows to measure checkpoints on, or these or the training
            rows have not a single answer; or if a stream shall be grouped.
    """

    args: AmifVqaArguments
    model: AmifForVisualQuestionAnswering
    processing_class: AmifProcessor
    eval_dataset: Dataset | dict[str, Dataset] | None
    arguments_class = AmifVqaArguments

    # The loss is a mean over the batch, so the Trainer must divide it by the accumulation steps.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: AmifForVisualQuestionAnswering | None = None,
        args: AmifVqaArguments | None = None,
        train_dataset: Dataset | IterableDataset | None = None,
        eval_dataset: VqaData | dict[str, VqaData] | None = None,
        processing_class: AmifProcessor | None = None,
        candidates: Sequence[str] | None = None,
        choices: bool = False,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        args = AmifVqaArguments() if args is None else args
        if processing_class is None:
            raise ValueError("Give the model's processor as processing_class: it reads images, questions and answers.")
        by_length = args.train_sampling_strategy == "group_by_length"
        if isinstance(train_dataset, IterableDataset) and (by_length or args.questions_per_image is not None):
            raise ValueError(
                "Rows of a stream cannot be grouped: leave out --questions_per_image and --train_sampling_strategy "
                "group_by_length, or load the rows without streaming."
            )
        kept_rows = _kept(eval_dataset)
        if args.eval_strategy != "no":
            check_validation_answers(kept_rows)
        self.collator = AmifVqaCollator(processing_class)
        super().__init__(
            model=model,
            args=args,
            data_collator=self.collator,
            train_dataset=None if train_dataset is None else _answered(train_dataset),
            eval_dataset=kept_rows,
            processing_class=processing_class,
            **kwargs,
        )
        self.candidates, self.choices = candidates, choices
        self.further_metrics = compute_metrics
        self.acceptable: AcceptableAnswers = acceptable_answers
        self._train_sampler: ImageGroupedSampler | LengthGroupedSampler | None = None
        self.add_callback(_StartEpoch(self))

    def prepare_model(self, model: PreTrainedModel) -> None:
        """Freeze what is not to be trained, and drop what an earlier model has made of the images."""
        vision_model = cast(AmifForVisualQuestionAnswering, model).model.vision_model
        if self.args.freeze_vision_encoder:
            vision_model.requires_grad_(False)
        elif self.args.trained_vision_blocks is not None:
            train_last_blocks(vision_model, self.args.trained_vision_blocks)
        self._prepared_rows: dict[tuple[str, bool], VqaRows] = {}

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """As `ResumableTrainer.train`; a threshold of abstention, chosen for other weights, is dropped."""
        self.processing_class.abstention_threshold = None
        return super().train(resume_from_checkpoint, **kwargs)

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
            ValueError: If rates shall fall from block to block of a vision encoder whose blocks are not found; or Muon
                shall train a model whose matrices FSDP or DeepSpeed spreads.
        """
        optimizer = super().create_optimizer(model)
        trained, factors = model or self.model, {}
        if self.args.vision_layer_decay is not None:
            vision_model = self.accelerator.unwrap_model(trained).model.vision_model
            factors = layer_decay_factors(vision_model, self.args.vision_layer_decay)
        rates = (self.args.vision_learning_rate, self.args.fusion_learning_rate)
        set_rates_by_part(optimizer, trained, *rates, factors)
        if self.args.muon_learning_rate is not None:
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                raise ValueError(
                    "Muon needs whole matrices, which FSDP and DeepSpeed spread: drop --muon_learning_rate."
                )
            from .muon import with_muon  # whose library takes seconds to import

            self.optimizer = with_muon(optimizer, trained, self.args.muon_learning_rate)
        return self.optimizer

    def evaluate(
        self,
        eval_dataset: VqaData | dict[str, VqaData] | str | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Answer the questions of a data set (the validation split by default) and measure `accuracy` in percent.

        Of a dictionary each set is measured under its own prefix, as the Trainer does.
        """
        if isinstance(eval_dataset, str):  # the Trainer's way to name one of its dictionary
            dataset = self.eval_dataset[eval_dataset] if isinstance(self.eval_dataset, dict) else None
        else:
            dataset = self.eval_dataset if eval_dataset is None else _kept(eval_dataset)
        if dataset is None:
            raise ValueError("There are no rows to evaluate: give eval_dataset.")
        measured = nullcontext() if isinstance(dataset, dict) else self._measuring(dataset)
        with measured:  # the Trainer takes rows of `datasets` too, which its annotation leaves out
            return super().evaluate(dataset, ignore_keys, metric_key_prefix)  # pyright: ignore[reportArgumentType]

    def predict(
        self, test_dataset: VqaData, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """As the Trainer's, with `accuracy` in percent; `predict_answers` gives the answers as texts, in order."""
        rows = _kept(test_dataset)
        with self._measuring(rows):
            return super().predict(rows, ignore_keys, metric_key_prefix)  # pyright: ignore[reportArgumentType]

    @contextmanager
    def _measuring(self, dataset: Dataset) -> Iterator[None]:
        self.compute_metrics = partial(self._accuracy, dataset)
        self._answerer = self._answerer_of(dataset)
        try:
            with unsharded(self.model):
                yield
        finally:
            self.compute_metrics = None

    def predict_answers(
        self, dataset: VqaData, folder: str | Path | None = None
    ) -> tuple[list[str], list[float | None]]:
        """Answer every question of a data set, image by image; several processes share the batches.

        Args:
            dataset: Rows of the schema; a stream is read to its end first.
            folder: Where the answers are written as they come, for an interrupted call to go on from; see
                `PartialPredictions`. None keeps them in memory alone.

        Returns:
            In the order of the rows, the answers and their log-likelihoods (nats), None for those generated freely.
        """
        questions: Dataset = _kept(dataset)
        model = self._unwrapped().eval()
        # Before, for a model that FSDP spread is spread again by it.
        model.to(self.args.device)  # pyright: ignore[reportArgumentType]  # transformers wraps the method
        with unsharded(self.model):
            rows, self._answerer = self._rows(questions), self._answerer_of(questions)

            def answer(batch: dict[str, torch.Tensor]) -> list[ScoredAnswer]:
                """A batch on the device, under autocast and without gradients."""
                _, predicted, places = self.prediction_step(model, batch, prediction_loss_only=False)
                return self._answerer.answers(*predicted, places.tolist())

            partial_predictions = None if folder is None else self._partial_predictions(questions, folder)
            answers = answer_rows(
                rows,
                answer,
                self.collator,
                self.accelerator,
                partial_predictions,
                batch_size=self.args.per_device_eval_batch_size,
                num_workers=self.args.dataloader_num_workers,
                progress=not self.args.disable_tqdm,
            )
        in_order = [answers[row] for row in range(len(questions))]
        return [answer or "" for answer, _ in in_order], [score for _, score in in_order]

    def forget(self, dataset: Dataset) -> None:
        """Drop what is kept of rows that are not read again: with a frozen vision encoder the states of all images."""
        self._prepared_rows.pop((dataset._fingerprint, False), None)

    def _partial_predictions(self, dataset: Dataset, folder: str | Path) -> PartialPredictions:
        generates = self.candidates is None and not self.choices
        fingerprint = prediction_fingerprint(
            self._unwrapped(),
            self.processing_class,
            dataset,
            candidates=dataset["choices"][:] if self.choices else self.candidates,
            generation=self._unwrapped().generation_config.to_json_string() if generates else None,
            batch_size=self.args.per_device_eval_batch_size,
            precision=self.accelerator.mixed_precision,
            attention=self.model.config._attn_implementation,
            cached=self.args.freeze_vision_encoder,
        )
        return open_partial_predictions(folder, fingerprint, self.accelerator)

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
            return None, self._answerer.predict(self.accelerator.unwrap_model(model), inputs, rows), rows

    def _answerer_of(self, dataset: Dataset) -> Answerer:
        return Answerer(self.processing_class, self.candidates, dataset["choices"][:] if self.choices else None)

    def _unwrapped(self) -> AmifForVisualQuestionAnswering:
        return self.accelerator.unwrap_model(self.model)

    def _accuracy(self, dataset: Dataset, prediction: EvalPrediction) -> dict[str, float | None]:
        order = np.asarray(prediction.label_ids).argsort()
        answers = self._answerer.texts(prediction.predictions[0][order], range(len(order)))
        references: list[Reference | None] = dataset["answer"][:]
        check_predictions_differ(answers, references)
        accepted = right_answers(dataset, self.acceptable)
        right = [None if known is None else any_of or known for known, any_of in zip(references, accepted, strict=True)]
        # In memory: a file in the user's cache folder would be one for all processes.
        measured = VqaAccuracy(keep_in_memory=True).compute(predictions=answers, references=right)
        metrics = {"accuracy": None if measured is None else measured["accuracy"]}
        if self.further_metrics is None:
            return metrics
        texts = (np.fromiter(column, dtype=object, count=len(column)) for column in (answers, references))
        return metrics | self.further_metrics(EvalPrediction(*texts))

    def _get_dataloader(self, dataset: VqaData, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader:
        self.data_collator = self.collator
        if is_training:
            self.data_collator = AmifVqaCollator(self.processing_class, self._augmentation())
        augmented = is_training and self.args.augment_images
        rows = VqaStream(dataset) if isinstance(dataset, IterableDataset) else self._rows(dataset, augmented)
        return super()._get_dataloader(rows, *args, is_training=is_training, **kwargs)

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
        with self.accelerator.autocast():
            return encode_unique_images(
                self._unwrapped(),
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

    def _get_train_sampler(self, train_dataset: VqaRows) -> Sampler | None:
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


def _kept(data: Any) -> Any:
    """Rows of `datasets`, also by name, with streams of them read."""
    if isinstance(data, dict):
        return {name: _kept(rows) for name, rows in data.items()}
    return read_stream(data) if isinstance(data, IterableDataset) else data


def _answered(dataset: VqaData) -> VqaData:
    if isinstance(dataset, IterableDataset):  # whose unanswered rows are left out as they come
        return dataset
    rows = [row for row, answer in enumerate(dataset["answer"][:]) if answer is not None]
    if not rows:
        raise ValueError(f"None of the {len(dataset)} training questions has an answer, so there is nothing to learn.")
    if len(rows) < len(dataset):
        logger.warning(f"{len(dataset) - len(rows)} of {len(dataset)} training questions have no answer: left out.")
    return dataset.select(rows) if len(rows) < len(dataset) else dataset
