from .group_alignment import (
    cross_group_alignment,
    gather_groups,
    group_alignment,
    min_max_similarity,
    pooled_groups,
    sparsify,
)
from .hard_negatives import (
    HARD_NEGATIVE,
    POSITIVE,
    SKIPPED,
    matching_labels,
    matching_loss,
    sample_hard_negatives,
)
from .health import contrast_accuracy, matching_accuracy, mean_token_cosine, plan_entropy, retrieval_recall
from .info_nce import info_nce
from .optimal_transport import transport_cost, transport_loss, transport_plan
from .paired_masking import hide_patches, hide_words
from .reconstruction import image_reconstruction_loss, normalised_patches, report_reconstruction_loss
from .similarity import cosine_similarities
from .soft_labels import one_hot_labels, soft_label_alignment, soft_labels
from .token_contrast import local_alignment, read_across, token_contrast
from .transport_contrast import transport_contrast

__all__ = [
    "HARD_NEGATIVE",
    "POSITIVE",
    "SKIPPED",
    "contrast_accuracy",
    "cosine_similarities",
    "cross_group_alignment",
    "gather_groups",
    "group_alignment",
    "hide_patches",
    "hide_words",
    "image_reconstruction_loss",
    "info_nce",
    "local_alignment",
    "matching_accuracy",
    "matching_labels",
    "matching_loss",
    "mean_token_cosine",
    "min_max_similarity",
    "normalised_patches",
    "one_hot_labels",
    "plan_entropy",
    "pooled_groups",
    "read_across",
    "report_reconstruction_loss",
    "retrieval_recall",
    "sample_hard_negatives",
    "soft_label_alignment",
    "soft_labels",
    "sparsify",
    "token_contrast",
    "transport_contrast",
    "transport_cost",
    "transport_loss",
    "transport_plan",
]
