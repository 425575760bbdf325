"""Answers that a model cannot learn or cannot give, or gives to every question."""

from collections.abc import Collection, Sequence

from datasets import Dataset
from transformers.utils import logging

from ..data.mixtures import right_answers
from ..data.references import AcceptableAnswers, Reference, acceptable_answers, normal_form
from ..evaluation.protocols import distinct_answers

logger = logging.get_logger(__name__)


def check_training_answers(training: Dataset) -> None:
    """Warn where all training answers are the same one.

    Raises:
        ValueError: If no training row has an answer.
    """
    answers = distinct_answers(training)
    if not answers:
        raise ValueError(
            f"None of the {len(training)} training rows has an answer, so there is nothing to learn. Name the column "
            "of answers with answer_column."
        )
    if len(answers) == 1:
        logger.warning(
            f"All training answers are {answers[0]!r}: nothing can be learned but to say so. Is answer_column right?"
        )


def check_validation_answers(validation: Dataset | dict[str, Dataset] | None) -> None:
    """Make sure that there is something to choose checkpoints by.

    Args:
        validation: The rows of validation, or several sets of them by name; None where there are none.

    Raises:
        ValueError: If there are no rows, or none of a set's rows has an answer.
    """
    without = "train with --eval_strategy no --load_best_model_at_end false."
    if validation is None:
        raise ValueError(
            "There is no validation split to measure checkpoints by: give one as eval_dataset, have --validation_by "
            f"make one, or {without}"
        )
    for name, rows in (validation if isinstance(validation, dict) else {"validation": validation}).items():
        if not any(answer is not None for answer in rows["answer"]):
            raise ValueError(
                f"None of the {len(rows)} {name} rows has an answer to measure checkpoints by. Name the column of "
                f"answers with answer_column, or {without}"
            )


def count_unreachable(
    dataset: Dataset, candidates: Collection[str], acceptable: AcceptableAnswers = acceptable_answers
) -> int:
    """How many answered rows have no acceptable answer among the candidates; logged, for they all count as wrong."""
    known = set(candidates)
    answers = zip(dataset["answer"][:], right_answers(dataset, acceptable), strict=True)
    references = [right for answer, right in answers if answer is not None]
    unreachable = [answers for answers in references if not known.intersection(answers)]
    if unreachable:
        examples = ", ".join(repr(answers[0]) for answers in unreachable[:3] if answers)
        logger.warning(
            f"The answers of {len(unreachable)} of {len(references)} questions are not among the {len(known)} "
            f"candidates, so that these count as wrong, whatever the model says: {examples}, .."
        )
    return len(unreachable)


def check_predictions_differ(predictions: Sequence[str], references: Sequence[Reference | None]) -> None:
    """Warn where questions of different answers all got the same one."""
    if len(set(predictions)) == 1 and len(set(map(normal_form, references)) - {""}) > 1:
        logger.warning(
            f"All {len(predictions)} questions got the answer {predictions[0]!r}: the model has learned which answer "
            "is frequent and nothing else. Early in training that passes; if it stays, lower the learning rate, or "
            "start from a checkpoint that answers."
        )
