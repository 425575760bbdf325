"""Whether a question gets the same answer however it is worded."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ..data.references import normal_form
from .grouped_accuracy import mean_with_interval
from .prediction_rows import Row


def consistency(rows: Sequence[Row]) -> Row | None:
    """Agreement of the answers to several wordings of one question about one image.

    Wordings of one question share `image_id` and `template` (phantom) or `rephrasing_of` (VQA-RAD).

    Args:
        rows: `prediction_rows`; questions that have one wording alone do not count.

    Returns:
        `agreement`: the percentage of pairs of wordings with the same normalised answer, averaged over questions;
        `all_agree`: the percentage of questions whose wordings all get the same answer; `all_right`: of questions all
        of whose wordings are answered rightly, None without references. Each has an interval over images; `n` counts
        questions. `wordings` is the number of rows they come from. None where no question has two wordings.
    """
    groups = _wordings(rows)
    if not groups:
        return None
    first = [group[0] for group in groups]
    answers = [Counter(normal_form(row["prediction"]) for row in group) for group in groups]
    return {
        "agreement": mean_with_interval(first, [_agreement(counts) for counts in answers], "share"),
        "all_agree": mean_with_interval(first, [len(counts) == 1 for counts in answers], "share"),
        "all_right": mean_with_interval(first, [_all_right(group) for group in groups], "share"),
        "wordings": sum(map(len, groups)),
    }


def _wordings(rows: Sequence[Row]) -> list[list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        question = row.get("template") or row.get("rephrasing_of")
        if question is not None:
            groups[row["image_id"], normal_form(question)].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _agreement(answers: Counter[str]) -> float:
    counts = np.array(list(answers.values()))
    return float((counts * (counts - 1)).sum() / (counts.sum() * (counts.sum() - 1)))


def _all_right(group: Sequence[Row]) -> bool | None:
    verdicts = [row["correct"] for row in group]
    return None if None in verdicts else all(verdicts)
