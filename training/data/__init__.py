"""Data sets in one schema, and what a trainer makes of their rows; names are imported when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augmentation import LateralitySafeAugmentation, StrongAugmentation
    from .image_replacement import replace_images, rows_with_alike_images
    from .names import IMAGE_REPLACEMENTS, NAMED
    from .pretraining_collator import AmifPreTrainingCollator, choose_views
    from .pretraining_dataset import load_pretraining_dataset
    from .pretraining_rows import PretrainingRows, PretrainingStream
    from .readers.own_data import load_questions
    from .sampler import ImageGroupedSampler
    from .splits import split_by_image
    from .vqa_collator import AmifVqaCollator
    from .vqa_dataset import load_vqa_dataset
    from .vqa_rows import VqaRows

# Command lines are read by files of this folder, without the others, which bring torch and datasets.
_PLACES = {
    "AmifPreTrainingCollator": "pretraining_collator",
    "AmifVqaCollator": "vqa_collator",
    "IMAGE_REPLACEMENTS": "names",
    "ImageGroupedSampler": "sampler",
    "LateralitySafeAugmentation": "augmentation",
    "NAMED": "names",
    "PretrainingRows": "pretraining_rows",
    "PretrainingStream": "pretraining_rows",
    "StrongAugmentation": "augmentation",
    "VqaRows": "vqa_rows",
    "choose_views": "pretraining_collator",
    "load_pretraining_dataset": "pretraining_dataset",
    "load_questions": "readers.own_data",
    "load_vqa_dataset": "vqa_dataset",
    "replace_images": "image_replacement",
    "rows_with_alike_images": "image_replacement",
    "split_by_image": "splits",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])


__all__ = [
    "IMAGE_REPLACEMENTS",
    "NAMED",
    "AmifPreTrainingCollator",
    "AmifVqaCollator",
    "ImageGroupedSampler",
    "LateralitySafeAugmentation",
    "PretrainingRows",
    "PretrainingStream",
    "StrongAugmentation",
    "VqaRows",
    "choose_views",
    "load_pretraining_dataset",
    "load_questions",
    "load_vqa_dataset",
    "replace_images",
    "rows_with_alike_images",
    "split_by_image",
]
