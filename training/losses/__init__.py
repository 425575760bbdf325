from .hard_negatives import (
    HARD_NEGATIVE,
    POSITIVE,
    SKIPPED,
    matching_labels,
    matching_loss,
    sample_hard_negatives,
)
from .health import matching_accuracy, mean_token_cosine, plan_entropy, retrieval_recall
from .optimal_transport import transport_cost, transport_loss, transport_plan
from .similarity import cosine_similarities
from .soft_labels import one_hot_labels, soft_label_alignment, soft_labels

__all__ = [
    "HARD_NEGATIVE",
    "POSITIVE",
    "SKIPPED",
    "cosine_similarities",
    "matching_accuracy",
    "matching_labels",
    "matching_loss",
    "mean_token_cosine",
    "one_hot_labels",
    "plan_entropy",
    "retrieval_recall",
    "sample_hard_negatives",
    "soft_label_alignment",
    "soft_labels",
    "transport_cost",
    "transport_loss",
    "transport_plan",
]
