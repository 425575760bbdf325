from ..data.references import acceptable_answers, acceptable_answers_of, answer_alternatives, normal_form
from .accuracy import VqaAccuracy, is_correct, is_yes_no
from .baselines import baseline_rows, most_frequent_by_question_type, question_and_kind, question_only
from .bootstrap import bootstrap_ci95
from .confidence import (
    abstention,
    brier_score,
    choose_abstention_threshold,
    confidences_and_verdicts,
    expected_calibration_error,
    reliability,
    risk_coverage_area,
    risk_coverage_curve,
)
from .consistency import consistency
from .fingerprint import evaluation_fingerprint, prediction_fingerprint
from .grounding import grounding
from .grouped_accuracy import accuracy_with_interval, mean_with_interval, score_rows
from .metrics import build_metrics
from .partial_predictions import PartialPredictions, ablated_folder, remove_partial_predictions
from .prediction_rows import prediction_rows
from .protocols import candidate_answers, distinct_answers, knowledge_answers, known_splits, protocol_note
from .result_files import append_test_evaluation, checkpoint_sha256, write_json, write_jsonl
from .significance import compare_predictions
from .text_overlap import bleu1, token_f1
from .vqa_med import strict_match, task_bleu

__all__ = [
    "PartialPredictions",
    "VqaAccuracy",
    "ablated_folder",
    "abstention",
    "acceptable_answers",
    "acceptable_answers_of",
    "accuracy_with_interval",
    "answer_alternatives",
    "append_test_evaluation",
    "baseline_rows",
    "bleu1",
    "bootstrap_ci95",
    "brier_score",
    "build_metrics",
    "candidate_answers",
    "checkpoint_sha256",
    "choose_abstention_threshold",
    "compare_predictions",
    "confidences_and_verdicts",
    "consistency",
    "distinct_answers",
    "evaluation_fingerprint",
    "expected_calibration_error",
    "grounding",
    "is_correct",
    "is_yes_no",
    "knowledge_answers",
    "known_splits",
    "mean_with_interval",
    "most_frequent_by_question_type",
    "normal_form",
    "prediction_fingerprint",
    "prediction_rows",
    "protocol_note",
    "question_and_kind",
    "question_only",
    "reliability",
    "remove_partial_predictions",
    "risk_coverage_area",
    "risk_coverage_curve",
    "score_rows",
    "strict_match",
    "task_bleu",
    "token_f1",
    "write_json",
    "write_jsonl",
]
