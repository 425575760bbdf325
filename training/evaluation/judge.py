"""Scores that somebody else's judge gave the answers, reported beside exact match and never in its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .grouped_accuracy import mean_with_interval
from .prediction_rows import Prediction
from .results import Interval, Result


@dataclass(frozen=True)
class JudgeScores(Result):
    """The mean of a judge's scores, and the column of the file that holds them."""

    column: str
    mean: Interval

    def json_fields(self) -> Mapping[str, object]:
        """The column, then the mean as `score` with `ci95` and `n`."""
        return {"column": self.column, **self.mean.json_fields()}


def mean_judge_score(rows: Sequence[Prediction], scores: Mapping[str, float], column: str) -> JudgeScores:
    """Mean of a judge's scores in percent, with the interval of `bootstrap_ci95` over images.

    Args:
        rows: The answers, at least one.
        scores: From question ids to numbers between 0 and 1, as `read_judge_scores` gives.
        column: What the file calls them.
    """
    mean = mean_with_interval(rows, [scores[row.question_id] for row in rows], "score")
    assert mean is not None, "every answer has a score"
    return JudgeScores(column, mean)
