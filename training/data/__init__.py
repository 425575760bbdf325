from .ablation import ablate_images
from .augmentation import LateralitySafeAugmentation
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
    "load_vqa_dataset",
    "split_by_image",
]
