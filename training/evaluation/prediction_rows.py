"""Rows of `predictions.jsonl`: what was asked, what was answered, and whether that is right."""

import math
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from .accuracy import is_correct, is_yes_no

Row = dict[str, Any]

_COLUMNS = ["question_id", "image_id", "question", "answer", "answer_type", "question_type"]


def prediction_rows(
    dataset: Dataset, predictions: Sequence[str], scores: Sequence[float | None] | None = None
) -> list[Row]:
    """Rows of `predictions.jsonl`: the data's own columns, what was predicted, and whether it is right.

    Args:
        dataset: n rows of the package's schema; its images are not decoded.
        predictions: n answers in the order of `dataset`.
        scores: n scores of the predictions (log-likelihoods); None, or a score that is not finite, is written as null.

    Returns:
        n rows. `correct` and `yes_no` (the normalised answer is exactly yes or no) are None without an answer.

    Raises:
        ValueError: where the lengths differ.
    """
    scores = [None] * len(dataset) if scores is None else scores
    rows = []
    for row, prediction, score in zip(dataset.select_columns(_COLUMNS), predictions, scores, strict=True):
        row["prediction"] = prediction
        row["score"] = None if score is None or not math.isfinite(score) else float(score)
        row["correct"] = is_correct(prediction, row["answer"])
        row["yes_no"] = is_yes_no(row["answer"])
        rows.append(row)
    return rows
