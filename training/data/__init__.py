from .augmentation import LateralitySafeAugmentation, StrongAugmentation
from .image_replacement import IMAGE_REPLACEMENTS, replace_images, rows_with_alike_images
from .pretraining_collator import AmifPreTrainingCollator, choose_views
from .pretraining_dataset import load_pretraining_dataset
from .pretraining_rows import PretrainingRows, PretrainingStream
from .readers.own_data import load_questions
from .sampler import ImageGroupedSampler
from .splits import split_by_image
from .vqa_collator import AmifVqaCollator
from .vqa_dataset import NAMED, load_vqa_dataset
from .vqa_rows import VqaRows

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
