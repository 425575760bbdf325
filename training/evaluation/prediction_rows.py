"""Rows of `predictions.jsonl`: what was asked, what was answered, and whether that is right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from ..data.mixtures import SET_COLUMN, rule_of_row
from ..data.readers.table_files import read_json_lines
from ..data.references import AcceptableAnswers, acceptable_answers
from ..data.schema import as_one
from .correctness import is_correct, is_yes_no
from .finite import check_score
from .results import Result

COLUMNS = ("question_id", "image_id", "question", "answer", "answer_type", "question_type")
COLUMNS_OF_SOME = ("modality", "organ", "template", "rephrasing_of", SET_COLUMN)


class ScoredAnswer(NamedTuple):
    """An answer as text, None where it was withheld, and its log-likelihood in nats, None where nobody gave one."""

    answer: str | None
    score: float | None


@dataclass(frozen=True)
class Prediction(Result):
    """A question, its reference, and what a system answered: one line of `predictions.jsonl`.

    Attributes:
        question_id: The data's own id.
        image_id: Of the image that the question is about.
        question: Its text.
        answer: The reference as the data have it, a list where any of several is right; None where it is unknown.
        answer_type: "open", "closed" or None, the file's own.
        question_type: The file's own; None where it has none.
        prediction: The answer given; None where it was withheld.
        score: Its log-likelihood in nats; None where nobody gave one.
        correct: Whether the prediction is right; None without a reference.
        yes_no: Whether the normalised reference is exactly yes or no; None without a reference.
        further: Of `modality`, `organ`, `template`, `rephrasing_of` and `dataset_name` those that the data have as
            columns.
        choices: The question's own candidates; None where it has none.
    """

    question_id: str
    image_id: str
    question: str
    answer: str | list[str] | None
    answer_type: str | None
    question_type: str | None
    prediction: str | None
    score: float | None
    correct: bool | None
    yes_no: bool | None
    further: Mapping[str, str | None] = field(default_factory=dict)
    choices: list[str] | None = None

    @property
    def modality(self) -> str | None:
        """How the image was taken; None where nobody says."""
        return self.further.get("modality")

    @property
    def organ(self) -> str | None:
        """What the image shows; None where nobody says."""
        return self.further.get("organ")

    @property
    def dataset_name(self) -> str | None:
        """Which of several data sets the question is of; None where there is one."""
        return self.further.get(SET_COLUMN)

    @property
    def wording_of(self) -> str | None:
        """What the other wordings of the same question share with this one; None where nobody says."""
        return self.further.get("template") or self.further.get("rephrasing_of")

    def json_fields(self) -> Mapping[str, object]:
        """The data's columns, then what was answered and whether that is right."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        columns |= {} if self.choices is None else {"choices": self.choices}
        answered = {name: getattr(self, name) for name in ("prediction", "score", "correct", "yes_no")}
        return {**columns, **self.further, **answered}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Prediction":
        """The prediction that a line of `predictions.jsonl` holds.

        Raises:
            KeyError: If the line lacks one of the columns that every such file has.
            ValueError: If the score is not finite.
        """
        return cls(
            question_id=line["question_id"],
            image_id=line["image_id"],
            question=line["question"],
            answer=line["answer"],
            answer_type=line["answer_type"],
            question_type=line.get("question_type"),
            prediction=line["prediction"],
            score=check_score(line["score"], line["question_id"]),
            correct=line["correct"],
            yes_no=line["yes_no"],
            further={name: line[name] for name in COLUMNS_OF_SOME if name in line},
            choices=line.get("choices"),
        )


def prediction_rows(
    dataset: Dataset,
    predictions: Sequence[str | None],
    scores: Sequence[float | None] | None = None,
    acceptable: AcceptableAnswers = acceptable_answers,
) -> list[Prediction]:
    """What was predicted beside the data's own columns, and whether it is right.

    Args:
        dataset: N rows of the package's schema; its images are not decoded.
        predictions: N answers in the order of `dataset`; None for an answer that was withheld, which is not right.
        scores: N scores of the predictions (log-likelihoods); None where nobody gave one.
        acceptable: From a reference to the normalised answers of which any is right; `acceptable_answers_of` knows
            which rule a data set has. Of several sets each question has its own set's.

    Returns:
        N predictions, in the order of `dataset`.

    Raises:
        ValueError: If the lengths differ, or a score is not finite.
    """
    scores = [None] * len(dataset) if scores is None else scores
    further = [name for name in (*COLUMNS_OF_SOME, "choices") if name in dataset.column_names]
    # At once: row by row the data set would take a tenth of a millisecond for each.
    rows = dataset.select_columns([*COLUMNS, *further]).to_list()
    return [
        Prediction.from_json(
            {
                **row,
                "answer": as_one(row["answer"]),
                "prediction": prediction,
                "score": score,
                "correct": is_correct(prediction, row["answer"], rule_of_row(row, acceptable)),
                "yes_no": is_yes_no(row["answer"]),
            }
        )
        for row, prediction, score in zip(rows, predictions, scores, strict=True)
    ]


def read_prediction_rows(path: str | Path) -> list[Prediction]:
    """The predictions of a `predictions.jsonl`, as `prediction_rows` made them.

    Raises:
        ValueError: If a line is damaged or is no prediction, naming file and row.
    """
    rows = []
    for number, line in enumerate(read_json_lines(Path(path))):
        try:
            rows.append(Prediction.from_json(line))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: row {number} (counted from 0) is no prediction ({error}): it is damaged or another file; "
                "answer the questions again."
            ) from None
    return rows
