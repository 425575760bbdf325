"""The arms of a comparison of objectives, and what they are called."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runs import PlainValue

# What each arm tells run_pretraining.py, stage by stage.
ARMS: "dict[str, tuple[dict[str, PlainValue], ...]]" = {
    # One step that changes nothing: the same new weights, vocabulary and files as in the other arms.
    "none": ({"objective": "amif", "max_steps": 1, "learning_rate": 0.0, "weight_decay": 0.0},),
    "info_nce": ({"objective": "aga", "group_weight": 0.0, "cross_group_weight": 0.0},),
    "amif_one": ({"objective": "amif", "stage": "global"},),
    "amif_both": ({"objective": "amif", "stage": "global"}, {"objective": "amif", "stage": "local"}),
    "aga": ({"objective": "aga"},),
    "mpma": ({"objective": "mpma"},),
}

LABELS = {
    "none": "no pre-training",
    "info_nce": "InfoNCE of whole pairs",
    "amif_one": "AMiF, stage one",
    "amif_both": "AMiF, both stages",
    "aga": "AGA",
    "mpma": "MPMA",
}
