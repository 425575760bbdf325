"""Whether the answers depend on the image: the same questions on real, blank and exchanged images."""

from collections.abc import Sequence

import numpy as np

from ..data.references import normal_form
from ..data.schema import kind_columns
from .grouped_accuracy import accuracy_with_interval, mean_with_interval, means_by_column
from .prediction_rows import Row


def grounding(
    real: Sequence[Row],
    blank: Sequence[Row] | None,
    shuffled: Sequence[Sequence[Row]],
    shuffled_alike: Sequence[Sequence[Row]] = (),
) -> Row:
    """Compare the answers given on the real images with those given on others.

    Args:
        real: `prediction_rows` on the data's own images.
        blank: the same questions on blank images; None where nobody asked them.
        shuffled: for each of several shuffles, the same questions on images that belong to other questions.
        shuffled_alike: likewise on other images of the same modality and organ; questions whose image has none are
            missing from all of them.

    Returns:
        `real` and `blank`, accuracies; `shuffled`, a list of them; `shuffled_mean`, over all shuffles;
        `changed_by_blank` and `changed_by_shuffling`, percentages of answers that differ from those on the real
        images; `visual_reliance`, the accuracy on the real images less the mean one on the shuffled, in percentage
        points. A model that does not look has 0 in the last three. `among_alike` has `real`, `shuffled_mean` and
        `visual_reliance` of `shuffled_alike`, the last also `by_modality` and `by_question_type`: 0 for a model that
        sees of what kind an image is and nothing more; `of_one` names the columns that make the kind. All have
        intervals over images, and are None where there is nothing to compute them from.

    Raises:
        ValueError: where the rows are not of the same questions in the same order.
    """
    for rows in (*([] if blank is None else [blank]), *shuffled):
        _check_same_questions(real, rows)
    mean_shuffled = _mean_correct(shuffled)
    return {
        "real": accuracy_with_interval(real),
        "blank": None if blank is None else accuracy_with_interval(blank),
        "shuffled": [accuracy_with_interval(rows) for rows in shuffled],
        "shuffled_mean": mean_with_interval(real, mean_shuffled, "accuracy") if mean_shuffled else None,
        "changed_by_blank": None if blank is None else _changed(real, [blank]),
        "changed_by_shuffling": _changed(real, shuffled) if shuffled else None,
        "visual_reliance": mean_with_interval(real, _reliance(real, mean_shuffled), "difference"),
        "among_alike": _among_alike(real, shuffled_alike) if shuffled_alike else None,
    }


def _among_alike(real: Sequence[Row], shuffled: Sequence[Sequence[Row]]) -> Row:
    asked = {row["question_id"] for row in shuffled[0]}
    own = [row for row in real if row["question_id"] in asked]
    for rows in shuffled:
        _check_same_questions(own, rows)
    mean_shuffled = _mean_correct(shuffled)
    reliance, groups = _reliance(own, mean_shuffled), ("modality", "question_type")
    return {
        "of_one": kind_columns(own),
        "real": accuracy_with_interval(own),
        "shuffled_mean": mean_with_interval(own, mean_shuffled, "accuracy"),
        "visual_reliance": mean_with_interval(own, reliance, "difference"),
        **{f"by_{column}": means_by_column(own, reliance, column, "difference") for column in groups},
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


def _reliance(real: Sequence[Row], mean_shuffled: Sequence[float | None]) -> list[float | None]:
    return [
        None if row["correct"] is None or mean is None else row["correct"] - mean
        for row, mean in zip(real, mean_shuffled or [None] * len(real), strict=True)
    ]


def _changed(real: Sequence[Row], others: Sequence[Sequence[Row]]) -> Row:
    forms = [[normal_form(row["prediction"]) for row in rows] for rows in (real, *others)]
    changed = [float(np.mean([answer != own for answer in rest])) for own, *rest in zip(*forms, strict=True)]
    return mean_with_interval(real, changed, "share")
