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
from .paired_masking import hide_patches, hide_words
from .reconstruction import image_reconstruction_loss, normalised_patches, report_reconstruction_loss
from .similarity import cosine_similarities
from .soft_labels import one_hot_labels, soft_label_alignment, soft_labels
from .token_contrast import local_alignment, read_across, token_contrast

__all__ = [
    "HARD_NEGATIVE",
    "POSITIVE",
    "SKIPPED",
    "cosine_similarities",
    "hide_patches",
    "hide_words",
    "image_reconstruction_loss",
    "local_alignment",
    "matching_accuracy",
    "matching_labels",
    "matching_loss",
    "mean_token_cosine",
    "normalised_patches",
    "one_hot_labels",
    "plan_entropy",
    "read_across",
    "report_reconstruction_loss",
    "retrieval_recall",
    "sample_hard_negatives",
    "soft_label_alignment",
    "soft_labels",
    "token_contrast",
    "transport_cost",
    "transport_loss",
    "transport_plan",
]
