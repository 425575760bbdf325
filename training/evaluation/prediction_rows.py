"""Rows of `predictions.jsonl`: what was asked, what was answered, and whether that is right."""

import math
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from ..data.references import AcceptableAnswers, acceptable_answers
from .accuracy import is_correct, is_yes_no

Row = dict[str, Any]

_COLUMNS = ("question_id", "image_id", "question", "answer", "answer_type", "question_type")
_COLUMNS_OF_SOME = ("modality", "organ", "template", "rephrasing_of")


def prediction_rows(
    dataset: Dataset,
    predictions: Sequence[str | None],
    scores: Sequence[float | None] | None = None,
    acceptable: AcceptableAnswers = acceptable_answers,
) -> list[Row]:
    """Rows of `predictions.jsonl`: the data's own columns, what was predicted, and whether it is right.

    Args:
        dataset: n rows of the package's schema; its images are not decoded.
        predictions: n answers in the order of `dataset`; None for an answer that was withheld, which is not right.
        scores: n scores of the predictions (log-likelihoods); None, or a score that is not finite, is written as null.
        acceptable: from a reference to the normalised answers of which any is right; `acceptable_answers_of` knows
            which rule a data set has.

    Returns:
        n rows, with `modality`, `organ`, `template` and `rephrasing_of` where the data have them. `correct` and
        `yes_no` (the normalised answer is exactly yes or no) are None without an answer.

    Raises:
        ValueError: where the lengths differ.
    """
    scores = [None] * len(dataset) if scores is None else scores
    columns = [*_COLUMNS, *(name for name in _COLUMNS_OF_SOME if name in dataset.column_names)]
    rows = []
    for row, prediction, score in zip(dataset.select_columns(columns), predictions, scores, strict=True):
        row["prediction"] = prediction
        row["score"] = None if score is None or not math.isfinite(score) else float(score)
        row["correct"] = is_correct(prediction, row["answer"], acceptable)
        row["yes_no"] = is_yes_no(row["answer"])
        rows.append(row)
    return rows
