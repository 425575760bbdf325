"""Numbers that are none: a measure of NaN or infinity would look like a result, and its comparisons all say no."""

import math
from collections.abc import Sequence

import numpy as np


def check_score(score: float | None, question_id: str | None) -> float | None:
    """The score of an answer, which must be a number if there is one.

    Raises:
        ValueError: If it is NaN or infinite, naming the question.
    """
    if score is None or math.isfinite(score):
        return None if score is None else float(score)
    raise ValueError(
        f"The answer to the question {question_id} has the score {score}, which says nothing: look for NaN in the "
        "model's weights or in the image, or give no score."
    )


def check_finite(values: np.ndarray, ids: Sequence[str], what: str) -> None:
    """Make sure that measures get numbers.

    Args:
        values: (n, ...) numbers.
        ids: N ids of what they belong to, for the message.
        what: What they are, for the message.

    Raises:
        ValueError: If one is NaN or infinite, naming the first it belongs to.
    """
    broken = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(broken):
        raise ValueError(
            f"The {what} of {ids[broken[0]]}, and of {len(broken)} of {len(values)} in all, hold NaN or infinity: look "
            "for it in the model's weights, and in that image."
        )
