"""The confidence of an answer, as a probability."""

from collections.abc import Sequence

import numpy as np

from .prediction_rows import Row


def confidences_and_verdicts(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """What a system says of its answers, and what is true.

    Args:
        rows: `prediction_rows`; those without a score or without a reference do not count.

    Returns:
        (n,) confidences, the probability of the answer's tokens, which is exp(score); and (n,) booleans, whether the
        answer is right.
    """
    counted = [row for row in rows if row["score"] is not None and row["correct"] is not None]
    scores = np.array([row["score"] for row in counted], dtype=float)
    # A log-likelihood may be rounded to a little above zero.
    return np.exp(np.minimum(scores, 0.0)), np.array([row["correct"] for row in counted], dtype=bool)
