"""Image augmentation that never swaps left and right."""

import random
from collections.abc import Callable

import torch
from PIL import Image
from torchvision.transforms import v2


class LateralitySafeAugmentation:
    """Random crop, small affine change, brightness and contrast; no mirroring, which would make "left lung" wrong.

    The draw depends on (seed, epoch, row) alone, so that a resumed run, and any number of workers, sees the pictures
    that an uninterrupted run sees; the global random state is left as it was.

    Args:
        image_size: the sides of the square result, in pixels.
        seed: of the draws.
        scale: bounds of the share of the picture's area that a crop keeps.
    """

    def __init__(self, image_size: int, seed: int = 0, scale: tuple[float, float] = (0.6, 1.0)) -> None:
        self.seed = seed
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(image_size, scale=scale, antialias=True),
                v2.RandomAffine(degrees=10, translate=(0.05, 0.05), interpolation=v2.InterpolationMode.BILINEAR),
                v2.ColorJitter(brightness=0.2, contrast=0.2),
            ]
        )

    def __call__(self, image: Image.Image, *, epoch: int, row: int) -> Image.Image:
        """`image` changed as the draw of (seed, epoch, row) says: a picture of the same mode, `image_size` square."""
        return apply_seeded(self.transform, image, f"{self.seed}:{epoch}:{row}")


def apply_seeded(transform: Callable[[Image.Image], Image.Image], image: Image.Image, seed: str) -> Image.Image:
    """`transform(image)` with the draws that `seed` stands for; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also reseed CUDA, which fork_rng leaves out here.
        torch.default_generator.manual_seed(random.Random(seed).getrandbits(63))
        return transform(image)
