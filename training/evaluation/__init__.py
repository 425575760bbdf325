from .accuracy import VqaAccuracy, acceptable_answers, is_correct, is_yes_no, normal_form
from .baselines import baseline_accuracies, most_frequent_by_question_type, question_only
from .bootstrap import bootstrap_ci95
from .evaluation_log import append_test_evaluation, checkpoint_sha256
from .fingerprint import evaluation_fingerprint
from .grouped_accuracy import accuracy_with_interval, score_rows
from .metrics import build_metrics
from .prediction_rows import prediction_rows
from .protocols import candidate_answers, distinct_answers, knowledge_answers, known_splits, protocol_note
from .result_files import write_json, write_jsonl
from .table import format_table

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
