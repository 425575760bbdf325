"""Whether a question gets the same answer however it is worded."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.references import normal_form
from .grouped_accuracy import mean_with_interval
from .prediction_rows import Prediction
from .results import Interval, Result


@dataclass(frozen=True)
class Consistency(Result):
    """Agreement of the answers to several wordings of one question about one image; each `n` counts questions.

    Attributes:
        agreement: Percentage of pairs of wordings with the same normalised answer, averaged over questions.
        all_agree: Percentage of questions whose wordings all get the same answer.
        all_right: Percentage of questions whose wordings are all answered rightly; None without references.
        wordings: Number of rows that the questions come from.
    """

    agreement: Interval | None
    all_agree: Interval | None
    all_right: Interval | None
    wordings: int


def consistency(rows: Sequence[Prediction]) -> Consistency | None:
    """Agreement of the answers to several wordings of one question about one image.

    Wordings of one question share `image_id` and `template` (phantom) or `rephrasing_of` (VQA-RAD).

    Args:
        rows: Questions that have one wording alone do not count.

    Returns:
        The agreement; None where no question has two wordings.
    """
    by_question: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for row in rows:
        if row.wording_of is not None:
            by_question[row.image_id, normal_form(row.wording_of)].append(row)
    groups = [group for group in by_question.values() if len(group) > 1]
    if not groups:
        return None
    first = [group[0] for group in groups]
    answers = [Counter(normal_form(row.prediction) for row in group) for group in groups]
    counts = [np.array(list(of_answers.values())) for of_answers in answers]
    agreement = [float((n * (n - 1)).sum() / (n.sum() * (n.sum() - 1))) for n in counts]  # of ordered pairs
    verdicts = [[row.correct for row in group] for group in groups]
    all_right = [None if None in of_group else all(of_group) for of_group in verdicts]
    return Consistency(
        agreement=mean_with_interval(first, agreement, "share"),
        all_agree=mean_with_interval(first, [len(of_answers) == 1 for of_answers in answers], "share"),
        all_right=mean_with_interval(first, all_right, "share"),
        wordings=sum(map(len, groups)),
    )
