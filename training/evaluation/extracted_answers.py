"""The answers of a file, taken out of sentences by `answer_extraction`, and scored beside the exact match."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from datasets import DatasetDict

from ..data.mixtures import rule_of_row
from ..data.references import AcceptableAnswers, Reference, acceptable_answers
from .answer_extraction import extract_answer, is_sentence, quantity
from .correctness import is_correct
from .grouped_accuracy import Scores, score_rows
from .prediction_rows import Prediction
from .protocols import candidate_answers, distinct_answers
from .results import Result

logger = logging.getLogger(__name__)

_SHOWN = 20


@dataclass(frozen=True)
class ExtractedPrediction(Prediction):
    """A prediction and the answer that was taken out of it.

    Attributes:
        extracted: The answer; None where none could be taken out.
        extracted_correct: Whether that is right; None without a reference.
    """

    extracted: str | None = None
    extracted_correct: bool | None = None

    def json_fields(self) -> Mapping[str, object]:
        """Those of a prediction, then these."""
        return {**super().json_fields(), "extracted": self.extracted, "extracted_correct": self.extracted_correct}


@dataclass(frozen=True)
class Candidates:
    """The answers that a reply may name.

    Attributes:
        choices: By question id, of the questions that bring their own.
        others: Normalised, of all other questions.
        source: In words, where the candidates come from.
    """

    choices: Mapping[str, Sequence[str]]
    others: Collection[str]
    source: str


@dataclass(frozen=True)
class Extraction(Result):
    """What taking the answers out of sentences gave.

    Attributes:
        candidates: In words, what could be named.
        not_extracted: Ids of the questions whose replies gave no answer.
        scores: As those of the exact match, of the extracted answers.
    """

    candidates: str
    not_extracted: list[str]
    scores: Scores

    def json_fields(self) -> Mapping[str, object]:
        """The fields, of the scores those by type, for the overall one is `overall_extracted` beside `overall`."""
        scores = self.scores
        groups = {name: getattr(scores, name) for name in ("by_answer_type", "by_yes_no", "by_question_type")}
        return {"candidates": self.candidates, "not_extracted": self.not_extracted, **groups}


def extraction_candidates(
    splits: DatasetDict, split: str, protocol: str, acceptable: AcceptableAnswers = acceptable_answers
) -> Candidates:
    """What a reply may name: the question's choices, else the protocol's candidates, else the split's distinct answers.

    No reply is read beside its own reference: of all of them together comes the last list alone.

    Args:
        splits: Rows of the package's schema.
        split: The evaluated one.
        protocol: "clean" and "paper" have candidates.
        acceptable: How references are read.
    """
    rows = splits[split]
    given = rows["choices"][:] if "choices" in rows.column_names else [None] * len(rows)
    choices = {str(id_): own for id_, own in zip(rows["question_id"], given, strict=True) if own}
    try:
        others = candidate_answers(protocol, splits, split, acceptable)
    except ValueError:  # the protocol has none for this split, or nobody said which it was
        others = None
    source = f"the {len(others or [])} candidates of the protocol {protocol}"
    if others is None:
        others = distinct_answers(rows, acceptable=acceptable)
        source = f"the {len(others)} distinct answers of the evaluated split"
    if choices:
        source = f"the choices of {len(choices)} of {len(rows)} questions" + (
            f", and for the others {source}" if len(choices) < len(rows) else ""
        )
    return Candidates(choices, frozenset(others), source)


def extract_answers(
    rows: Sequence[Prediction], candidates: Candidates, acceptable: AcceptableAnswers = acceptable_answers
) -> list[ExtractedPrediction]:
    """The rows with the answers that their predictions give.

    Args:
        rows: What a system answered; a withheld answer gives none.
        candidates: What may be named.
        acceptable: How references are read.
    """
    found = []
    for row in rows:
        choices = candidates.choices.get(row.question_id)
        answer = None
        if row.prediction is not None:
            answer = extract_answer(row.prediction, row.question, candidates.others, choices)
        right = _is_correct(answer, row.answer, rule_of_row(row.further, acceptable))
        found.append(ExtractedPrediction(**vars(row), extracted=answer, extracted_correct=right))
    return found


def _is_correct(answer: str | None, reference: Reference | None, acceptable: AcceptableAnswers) -> bool | None:
    right = is_correct(answer, reference, acceptable)
    if right is not False or answer is None or (measured := quantity(answer)) is None:
        return right
    return any(quantity(one) == measured for one in acceptable(reference))


def as_answered(rows: Sequence[Prediction]) -> list[Prediction]:
    """The rows as if the extracted answers had been given, for measures that compare answers; others as they are."""
    return [
        replace(row, prediction=row.extracted, correct=row.extracted_correct)
        if isinstance(row, ExtractedPrediction)
        else row
        for row in rows
    ]


def measure_extraction(rows: Sequence[Prediction], candidates: Candidates) -> Extraction:
    """Score what `extract_answers` gave, and name in a warning the replies that give no answer and count as wrong."""
    failed = [
        row
        for row in rows
        if isinstance(row, ExtractedPrediction) and row.extracted is None and row.prediction is not None
    ]
    if failed:
        said = [f"\n  {row.question_id}: {' '.join(str(row.prediction).split())[:100]}" for row in failed[:_SHOWN]]
        more = f"\n  and {len(failed) - _SHOWN} more" if failed[_SHOWN:] else ""
        logger.warning(
            f"--extract: {len(failed)} of {len(rows)} replies give no answer and count as wrong; metrics.json names "
            f"them all:{''.join(said)}{more}"
        )
    return Extraction(candidates.source, [row.question_id for row in failed], score_rows(as_answered(rows)))


def warn_of_sentences(rows: Sequence[Prediction], file: str) -> None:
    """Say that answers are sentences, which exact match counts as wrong, where a tenth of them or more are."""
    spoken = [
        row for row in rows if row.correct is False and row.prediction is not None and is_sentence(row.prediction)
    ]
    wrong = sum(not is_sentence(str(row.answer)) for row in spoken)
    if wrong and 10 * wrong >= len(rows):
        logger.warning(
            f"{file}: {wrong} of {len(rows)} answers are sentences, which exact match counts as wrong whatever they "
            "say. Add --extract true to have the answers taken out of them."
        )
