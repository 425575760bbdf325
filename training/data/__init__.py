from .ablation import ablate_images
from .augmentation import LateralitySafeAugmentation
from .pretraining_dataset import load_pretraining_dataset
from .sampler import ImageGroupedSampler
from .splits import split_by_image
from .vqa_collator import AmifVqaCollator
from .vqa_dataset import load_vqa_dataset
from .vqa_rows import VqaRows

__all__ = [
    "AmifVqaCollator",
    "ImageGroupedSampler",
    "LateralitySafeAugmentation",
    "VqaRows",
    "ablate_images",
    "load_pretraining_dataset",
    "load_vqa_dataset",
    "split_by_image",
]
