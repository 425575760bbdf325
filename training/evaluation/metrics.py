"""The content of `metrics.json`."""

from collections.abc import Mapping, Sequence

from ..data.references import acceptable_answers_of
from .confidence import (
    abstention,
    brier_score,
    confidences_and_verdicts,
    expected_calibration_error,
    risk_coverage_area,
)
from .consistency import consistency
from .grouped_accuracy import accuracy_with_interval, mean_with_interval, score_rows
from .prediction_rows import Row
from .protocols import protocol_note
from .text_overlap import bleu1, token_f1
from .vqa_med import strict_match, task_bleu


def build_metrics(
    rows: Sequence[Row],
    *,
    protocol: str,
    dataset_name: str,
    split: str,
    baselines: Mapping[str, Sequence[Row]],
    fingerprint: Row,
    abstention_threshold: float | None = None,
) -> Row:
    """The content of `metrics.json`: what was evaluated and how, every measure of the rows, and the fingerprint.

    Args:
        rows: rows of `prediction_rows`.
        protocol: "clean", "paper", "generate" or "unstated"; its note stands beside it.
        dataset_name: name or path of the data.
        split: the evaluated split.
        baselines: `baseline_rows` of the same questions, empty where there is nothing to learn them from.
        fingerprint: `evaluation_fingerprint` of the same rows.
        abstention_threshold: the score below which answers would be withheld, as chosen on validation.

    Returns:
        Beside `score_rows`: `baselines`, the accuracy of each; `above_question_only` and `above_question_and_kind`, the
        overall accuracy less that of the baseline, in percentage points with the interval of the paired difference;
        `text_overlap` (`bleu1` and `token_f1`), `vqa_med` (the task's `strict_accuracy` and `bleu`, for VQA-Med-2019
        alone), `confidence` (`confidence_measures`) and `consistency`; each None where the rows do not have what it
        needs.

    Raises:
        ValueError: where the protocol is unknown, or a baseline is of other questions.
    """
    return {
        "protocol": protocol,
        "protocol_note": protocol_note(protocol),
        "dataset": dataset_name,
        "split": split,
        **score_rows(rows),
        "text_overlap": text_overlap(rows, dataset_name),
        "vqa_med": vqa_med_measures(rows) if dataset_name == "vqa_med_2019" else None,
        "confidence": confidence_measures(rows, abstention_threshold),
        "consistency": consistency(rows),
        "baselines": {name: accuracy_with_interval(answers) for name, answers in baselines.items()},
        **{f"above_{name}": _difference(rows, baselines.get(name)) for name in ("question_only", "question_and_kind")},
        "fingerprint": fingerprint,
    }


def _difference(rows: Sequence[Row], others: Sequence[Row] | None) -> Row | None:
    if others is None:
        return None
    if [row["question_id"] for row in rows] != [row["question_id"] for row in others]:
        raise ValueError("A baseline must answer the same questions in the same order.")
    pairs = zip(rows, others, strict=True)
    points = [None if row["correct"] is None else row["correct"] - other["correct"] for row, other in pairs]
    return mean_with_interval(rows, points, "difference")


def text_overlap(rows: Sequence[Row], dataset_name: str) -> Row:
    """`bleu1` and `token_f1` in percent with intervals, for answers that are more than one of a list."""
    acceptable = acceptable_answers_of(dataset_name)
    return {
        measure.__name__: mean_with_interval(
            rows, [measure(row["prediction"], row["answer"], acceptable) for row in rows], "score"
        )
        for measure in (bleu1, token_f1)
    }


def vqa_med_measures(rows: Sequence[Row]) -> Row:
    """VQA-Med-2019's strict accuracy and BLEU in percent with intervals."""
    strict = [strict_match(row["prediction"], row["answer"]) for row in rows]
    bleu = [task_bleu(row["prediction"], row["answer"]) for row in rows]
    return {
        "strict_accuracy": mean_with_interval(rows, strict, "accuracy"),
        "bleu": mean_with_interval(rows, bleu, "score"),
    }


def confidence_measures(rows: Sequence[Row], abstention_threshold: float | None = None) -> Row | None:
    """`n`, `expected_calibration_error`, `brier_score` and `risk_coverage_area`, between 0 and 1, and `abstention`.

    None where no row has both a score and a reference.
    """
    confidences, correct = confidences_and_verdicts(rows)
    if not len(confidences):
        return None
    return {
        "n": len(confidences),
        "expected_calibration_error": expected_calibration_error(confidences, correct),
        "brier_score": brier_score(confidences, correct),
        "risk_coverage_area": risk_coverage_area(confidences, correct),
        "abstention": None if abstention_threshold is None else abstention(rows, abstention_threshold),
    }
