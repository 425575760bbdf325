from .accuracy import VqaAccuracy, acceptable_answers, is_correct, is_yes_no, normal_form
from .baselines import most_frequent_by_question_type, question_only
from .bootstrap import bootstrap_ci95
from .protocols import candidate_answers, distinct_answers, knowledge_answers, known_splits, protocol_note
from .report import (
    accuracy_with_interval,
    append_test_evaluation,
    baseline_accuracies,
    build_metrics,
    checkpoint_sha256,
    evaluation_fingerprint,
    format_table,
    prediction_rows,
    score_rows,
    write_json,
    write_jsonl,
)

__all__ = [
    "VqaAccuracy",
    "acceptable_answers",
    "accuracy_with_interval",
    "append_test_evaluation",
    "baseline_accuracies",
    "bootstrap_ci95",
    "build_metrics",
    "candidate_answers",
    "checkpoint_sha256",
    "distinct_answers",
    "evaluation_fingerprint",
    "format_table",
    "is_correct",
    "is_yes_no",
    "knowledge_answers",
    "known_splits",
    "most_frequent_by_question_type",
    "normal_form",
    "prediction_rows",
    "protocol_note",
    "question_only",
    "score_rows",
    "write_json",
    "write_jsonl",
]
