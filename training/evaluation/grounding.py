"""Whether the answers depend on the image: the same questions on real, blank and exchanged images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.references import normal_form
from ..data.schema import kind_columns
from .grouped_accuracy import accuracy_with_interval, mean_with_interval, means_by_group, with_unspecified
from .prediction_rows import Prediction
from .results import Interval, Result


@dataclass(frozen=True)
class GroundingAmongAlike(Result):
    """The same on images exchanged among alike ones: 0 for a system that sees of what kind an image is and no more.

    Attributes:
        alike_in: The columns of the data in which exchanged images are alike.
        real: Accuracy on the real images, of questions whose image has an alike one.
        shuffled_mean: Accuracy over all shuffles.
        visual_reliance: The first less the second, in percentage points.
        by_modality: The visual reliance of each modality.
        by_question_type: The same of each question type.
    """

    alike_in: list[str]
    real: Interval | None
    shuffled_mean: Interval | None
    visual_reliance: Interval | None
    by_modality: dict[str, Interval]
    by_question_type: dict[str, Interval]


@dataclass(frozen=True)
class Grounding(Result):
    """Answers on the real images beside those on others; a field is None where there is nothing to compute it from.

    Attributes:
        real: Accuracy on the real images.
        blank: Accuracy on blank images.
        shuffled: Accuracy on each shuffle.
        shuffled_mean: Accuracy over all shuffles.
        changed_by_blank: Percentage of answers that differ from those on the real images.
        changed_by_shuffling: Likewise, over all shuffles.
        visual_reliance: Accuracy on the real images less the mean one on the shuffled, in percentage points; like the
            two before, 0 for a model that does not look.
        among_alike: None where no images were exchanged among alike ones.
    """

    real: Interval | None
    blank: Interval | None
    shuffled: list[Interval | None]
    shuffled_mean: Interval | None
    changed_by_blank: Interval | None
    changed_by_shuffling: Interval | None
    visual_reliance: Interval | None
    among_alike: GroundingAmongAlike | None


def grounding(
    real: Sequence[Prediction],
    blank: Sequence[Prediction] | None,
    shuffled: Sequence[Sequence[Prediction]],
    shuffled_alike: Sequence[Sequence[Prediction]] = (),
) -> Grounding:
    """Compare the answers given on the real images with those given on others.

    Args:
        real: The answers on the real images.
        blank: The same questions on blank images; None where nobody asked them.
        shuffled: For each of several shuffles, the same questions on images that belong to other questions.
        shuffled_alike: Likewise on other images of the same modality and organ; questions whose image has none are
            missing from all of them.

    Raises:
        ValueError: If the rows are not of the same questions in the same order.
    """
    for rows in (*([] if blank is None else [blank]), *shuffled):
        _check_paired(real, rows)
    mean_shuffled = _mean_correct(shuffled)
    return Grounding(
        real=accuracy_with_interval(real),
        blank=None if blank is None else accuracy_with_interval(blank),
        shuffled=[accuracy_with_interval(rows) for rows in shuffled],
        shuffled_mean=mean_with_interval(real, mean_shuffled, "accuracy") if mean_shuffled else None,
        changed_by_blank=None if blank is None else _changed(real, [blank]),
        changed_by_shuffling=_changed(real, shuffled) if shuffled else None,
        visual_reliance=mean_with_interval(real, _reliance(real, mean_shuffled), "difference"),
        among_alike=_among_alike(real, shuffled_alike) if shuffled_alike else None,
    )


def _among_alike(real: Sequence[Prediction], shuffled: Sequence[Sequence[Prediction]]) -> GroundingAmongAlike:
    asked = {row.question_id for row in shuffled[0]}
    own = [row for row in real if row.question_id in asked]
    for rows in shuffled:
        _check_paired(own, rows)
    mean_shuffled = _mean_correct(shuffled)
    reliance = _reliance(own, mean_shuffled)

    def reliance_by(groups: Sequence[str | None]) -> dict[str, Interval]:
        return means_by_group(own, reliance, with_unspecified(groups), "difference")

    return GroundingAmongAlike(
        alike_in=kind_columns([row.further for row in own]),
        real=accuracy_with_interval(own),
        shuffled_mean=mean_with_interval(own, mean_shuffled, "accuracy"),
        visual_reliance=mean_with_interval(own, reliance, "difference"),
        by_modality=reliance_by([row.modality for row in own]),
        by_question_type=reliance_by([row.question_type for row in own]),
    )


def _check_paired(real: Sequence[Prediction], other: Sequence[Prediction]) -> None:
    ids = [[row.question_id for row in rows] for rows in (real, other)]
    if ids[0] != ids[1]:
        raise ValueError(
            f"Answers on other images must be to the same questions in the same order: {len(ids[0])} questions on the "
            f"real images, {len(ids[1])} on others, {len(set(ids[0]) ^ set(ids[1]))} on one side only."
        )


def _mean_correct(shuffled: Sequence[Sequence[Prediction]]) -> list[float | None]:
    """For each question the share of shuffles on which it is answered rightly."""
    verdicts = zip(*([row.correct for row in rows] for rows in shuffled), strict=True)
    return [None if None in of_question else float(np.mean(of_question)) for of_question in verdicts]


def _reliance(real: Sequence[Prediction], mean_shuffled: Sequence[float | None]) -> list[float | None]:
    return [
        None if row.correct is None or mean is None else row.correct - mean
        for row, mean in zip(real, mean_shuffled or [None] * len(real), strict=True)
    ]


def _changed(real: Sequence[Prediction], others: Sequence[Sequence[Prediction]]) -> Interval | None:
    forms = [[normal_form(row.prediction) for row in rows] for rows in (real, *others)]
    changed = [float(np.mean([answer != own for answer in rest])) for own, *rest in zip(*forms, strict=True)]
    return mean_with_interval(real, changed, "share")
