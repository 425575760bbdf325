"""Whether the answers depend on the image: the same questions on real, blank and exchanged images."""

from collections.abc import Sequence

import numpy as np

from .accuracy import normal_form
from .grouped_accuracy import accuracy_with_interval, mean_with_interval
from .prediction_rows import Row


def grounding(real: Sequence[Row], blank: Sequence[Row] | None, shuffled: Sequence[Sequence[Row]]) -> Row:
    """Compare the answers given on the real images with those given on others.

    Args:
        real: `prediction_rows` on the data's own images.
        blank: the same questions on blank images; None where nobody asked them.
        shuffled: for each of several shuffles, the same questions on images that belong to other questions.

    Returns:
        `real` and `blank`, accuracies; `shuffled`, a list of them; `shuffled_mean`, over all shuffles;
        `changed_by_blank` and `changed_by_shuffling`, percentages of answers that differ from those on the real
        images; `visual_reliance`, the accuracy on the real images less the mean one on the shuffled, in percentage
        points. A model that does not look has 0 in the last three. All have intervals over images, and are None where
        there is nothing to compute them from.

    Raises:
        ValueError: where the rows are not of the same questions in the same order.
    """
    for rows in (*([] if blank is None else [blank]), *shuffled):
        _check_same_questions(real, rows)
    mean_shuffled = _mean_correct(shuffled)
    reliance = [
        None if row["correct"] is None or mean is None else row["correct"] - mean
        for row, mean in zip(real, mean_shuffled or [None] * len(real), strict=True)
    ]
    return {
        "real": accuracy_with_interval(real),
        "blank": None if blank is None else accuracy_with_interval(blank),
        "shuffled": [accuracy_with_interval(rows) for rows in shuffled],
        "shuffled_mean": mean_with_interval(real, mean_shuffled, "accuracy") if mean_shuffled else None,
        "changed_by_blank": None if blank is None else _changed(real, [blank]),
        "changed_by_shuffling": _changed(real, shuffled) if shuffled else None,
        "visual_reliance": mean_with_interval(real, reliance, "difference"),
    }


def _check_same_questions(real: Sequence[Row], other: Sequence[Row]) -> None:
    ids = [[row["question_id"] for row in rows] for rows in (real, other)]
    if ids[0] != ids[1]:
        raise ValueError(
            f"Answers on other images must be to the same questions in the same order: {len(ids[0])} questions on the "
            f"real images, {len(ids[1])} on others, {len(set(ids[0]) ^ set(ids[1]))} on one side only."
        )


def _mean_correct(shuffled: Sequence[Sequence[Row]]) -> list[float | None]:
    """For each question the share of shuffles on which it is answered rightly."""
    verdicts = zip(*([row["correct"] for row in rows] for rows in shuffled), strict=True)
    return [None if None in of_question else float(np.mean(of_question)) for of_question in verdicts]


def _changed(real: Sequence[Row], others: Sequence[Sequence[Row]]) -> Row:
    forms = [[normal_form(row["prediction"]) for row in rows] for rows in (real, *others)]
    changed = [float(np.mean([answer != own for answer in rest])) for own, *rest in zip(*forms, strict=True)]
    return mean_with_interval(real, changed, "share")
