"""Answering a split and measuring the answers."""

from dataclasses import dataclass, replace

from datasets import Dataset, DatasetDict
from transformers.utils import logging

from ..data import replace_images, rows_with_alike_images
from ..data.references import AcceptableAnswers, acceptable_answers_of
from ..evaluation.baselines import split_baselines
from ..evaluation.confidence import choose_abstention_threshold
from ..evaluation.fingerprint import command_line, evaluation_fingerprint
from ..evaluation.grounding import Grounding, grounding
from ..evaluation.metrics import Metrics, RunFacts, build_metrics
from ..evaluation.partial_predictions import replaced_images_folder
from ..evaluation.prediction_rows import Prediction, prediction_rows
from ..evaluation.protocols import candidate_answers, known_splits
from .answer_checks import check_predictions_differ, count_unreachable
from .arguments import FineTuningDataArguments
from .knowledge import measure_knowledge
from .trainer import AmifVqaTrainer

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """A split answered and measured.

    Attributes:
        rows: Those of predictions.jsonl.
        metrics: The content of metrics.json.
        shown: The questions with the images that the model was shown.
        blank: The answers to the same questions on blank images; None where nobody asked.
    """

    rows: list[Prediction]
    metrics: Metrics
    shown: Dataset
    blank: list[Prediction] | None


def evaluate(
    trainer: AmifVqaTrainer, splits: DatasetDict, eval_split: str, data_args: FineTuningDataArguments, name: str
) -> Evaluation:
    """Answer a split, and measure the answers.

    Args:
        trainer: Whose model answers.
        splits: The questions.
        eval_split: The split that is evaluated.
        data_args: How.
        name: What the data are called.
    """
    dataset = splits[eval_split]
    protocol = protocol_of(dataset, data_args)
    if data_args.ablate_image is not None:
        dataset = replace_images(dataset, data_args.ablate_image, trainer.args.seed)
    selected = None
    if data_args.measure_knowledge:
        model = trainer.accelerator.unwrap_model(trainer.model)
        batch_size = trainer.args.per_device_eval_batch_size
        selected = measure_knowledge(model, trainer.processing_class, dataset, batch_size)
    acceptable = acceptable_answers_of(name)
    trainer.choices = protocol == "choices"
    trainer.candidates = evaluation_candidates(trainer, splits, eval_split, protocol, acceptable)
    if trainer.candidates is not None:
        count_unreachable(dataset, trainer.candidates, acceptable)
    answers, scores = trainer.predict_answers(dataset, trainer.args.output_dir)
    check_predictions_differ(answers, dataset["answer"])
    rows = prediction_rows(dataset, answers, scores, acceptable)
    # Of the rows that were asked: shuffle_alike leaves some out.
    baselines, note = split_baselines(DatasetDict({**splits, eval_split: dataset}), eval_split, acceptable)
    metrics = build_metrics(
        rows,
        protocol=protocol,
        dataset_name=name,
        split=eval_split,
        baselines=baselines,
        baselines_note=note,
        fingerprint=evaluation_fingerprint(rows, protocol=protocol, seed=trainer.args.seed, command=command_line()),
        abstention_threshold=trainer.processing_class.abstention_threshold,
    )
    metrics = replace(metrics, knowledge=selected, run=RunFacts(data_args.ablate_image, data_args.refit))
    blank = None
    if data_args.grounding_shuffles is not None:
        grounded, blank = measure_grounding(trainer, dataset, rows, name, data_args.grounding_shuffles)
        metrics = replace(metrics, grounding=grounded)
    return Evaluation(rows, metrics, dataset, blank)


def protocol_of(dataset: Dataset, data_args: FineTuningDataArguments) -> str:
    """--protocol; but new questions that all bring choices are answered from these where it asks for nothing else."""
    choices = [own for own in dataset["choices"] if own] if "choices" in dataset.column_names else []
    if not choices or data_args.protocol != "clean":
        return data_args.protocol
    if data_args.predict_file is not None and len(choices) == len(dataset):
        logger.warning(f"{data_args.predict_file}: each question is answered from its own choices.")
        return "choices"
    logger.warning(
        f"{len(choices)} of {len(dataset)} questions have choices of their own, which --protocol clean does not read: "
        "give --protocol choices to answer from them."
    )
    return data_args.protocol


def evaluation_candidates(
    trainer: AmifVqaTrainer,
    splits: DatasetDict,
    eval_split: str,
    protocol: str,
    acceptable: AcceptableAnswers,
) -> list[str] | None:
    """The protocol's candidates; where no other split is there, those that the checkpoint brings are the clean ones."""
    own = trainer.processing_class.answers
    if protocol == "clean" and own and not known_splits(splits, eval_split):
        logger.info(f"Candidates: the {len(own)} answers that the checkpoint brings.")
        return own
    return candidate_answers(protocol, splits, eval_split, acceptable)


def measure_grounding(
    trainer: AmifVqaTrainer, dataset: Dataset, rows: list[Prediction], dataset_name: str, shuffles: int
) -> tuple[Grounding, list[Prediction]]:
    """The same questions on blank images and on several shuffles, beside `rows` on the real ones; it can be resumed.

    Returns:
        The comparison, and the answers on blank images.
    """
    seeds = range(trainer.args.seed, trainer.args.seed + shuffles)
    acceptable = acceptable_answers_of(dataset_name)

    def answered(how: str, seed: int = 0) -> list[Prediction]:
        """The scored answers on replaced images, kept under the name of the replacement for a resumed run."""
        replaced = replace_images(dataset, how, seed)
        folder = replaced_images_folder(trainer.args.output_dir, how, seed)
        predicted = trainer.predict_answers(replaced, folder)
        trainer.forget(replaced)
        return prediction_rows(replaced, *predicted, acceptable)

    alike = [answered("shuffle_alike", seed) for seed in seeds] if len(rows_with_alike_images(dataset)) else []
    blank = answered("blank")
    return grounding(rows, blank, [answered("shuffle", seed) for seed in seeds], alike), blank


def set_abstention_threshold(
    trainer: AmifVqaTrainer, splits: DatasetDict, dataset_name: str, error_rate: float
) -> None:
    """The processor's threshold, from answers to the validation split under the clean protocol."""
    trainer.candidates = candidate_answers("clean", splits, "validation")
    answers = trainer.predict_answers(splits["validation"])
    rows = prediction_rows(splits["validation"], *answers, acceptable_answers_of(dataset_name))
    threshold = choose_abstention_threshold(rows, error_rate)
    trainer.processing_class.abstention_threshold = threshold
    if threshold is None:
        logger.warning("No threshold reaches --abstention_error_rate on validation: no answer would be withheld.")
    else:
        logger.info(f"Answers can be withheld below the score {threshold:.4f}, chosen on validation.")
