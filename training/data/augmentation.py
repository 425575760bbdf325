"""Image augmentation that never swaps left and right."""

import random
from collections.abc import Callable
from typing import cast

import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

BICUBIC = v2.InterpolationMode.BICUBIC

# RandAugment's magnitude 4 of 10, in each operation's own unit, its largest value being 30 degrees, a shear of 0.3, a
# shift of 10 pixels at 288, and 0.1 to 1.9 for sharpness.
DEGREES = 12.0

SHEAR_DEGREES = 6.84

SHIFT = 4 / 288

SHARPNESS = 0.82

Pair = tuple[float, float]


def _move(image: Image.Image, degrees: float = 0.0, shift: Pair = (0, 0), shear: Pair = (0, 0)) -> Image.Image:
    pixels = [round(part * image.width) for part in shift]
    # Its hints name tensors alone, but it takes images too.
    affine = cast(Callable[..., Image.Image], functional.affine)
    return affine(image, degrees, pixels, 1.0, list(shear), interpolation=v2.InterpolationMode.BILINEAR)


DISTORTIONS: tuple[Callable[[Image.Image, int], Image.Image], ...] = (
    lambda image, sign: image,
    lambda image, sign: ImageOps.equalize(image),
    lambda image, sign: ImageEnhance.Sharpness(image).enhance(SHARPNESS),
    lambda image, sign: _move(image, shear=(sign * SHEAR_DEGREES, 0)),
    lambda image, sign: _move(image, shear=(0, sign * SHEAR_DEGREES)),
    lambda image, sign: _move(image, shift=(sign * SHIFT, 0)),
    lambda image, sign: _move(image, shift=(0, sign * SHIFT)),
    lambda image, sign: _move(image, degrees=sign * DEGREES),
)


class LateralitySafeAugmentation:
    """Random crop, small affine change, brightness and contrast; no mirroring, which would make "left lung" wrong.

    The draw depends on (seed, epoch, row) alone, so that a resumed run, and any number of workers, sees the images
    that an uninterrupted run sees; the global random state is left as it was.

    Args:
        image_size: The sides of the square result, in pixels.
        seed: Of the draws.
        scale: Bounds of the share of the image's area that a crop keeps.
    """

    def __init__(self, image_size: int, seed: int = 0, scale: tuple[float, float] = (0.6, 1.0)) -> None:
        self.seed = seed
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(image_size, scale=scale, antialias=True),
                v2.RandomAffine(degrees=(-10, 10), translate=(0.05, 0.05), interpolation=v2.InterpolationMode.BILINEAR),
                v2.ColorJitter(brightness=0.2, contrast=0.2),
            ]
        )

    def __call__(self, image: Image.Image, *, epoch: int, row: int) -> Image.Image:
        """`image` changed as the draw of (seed, epoch, row) says: an image of the same mode, `image_size` square."""
        return apply_seeded(self.transform, image, f"{self.seed}:{epoch}:{row}")


def apply_seeded(transform: Callable[[Image.Image], Image.Image], image: Image.Image, seed: str) -> Image.Image:
    """`transform(image)` with the draws that `seed` stands for; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also reseed CUDA, which fork_rng leaves out here.
        torch.default_generator.manual_seed(random.Random(seed).getrandbits(63))
        return transform(image)


class StrongAugmentation:
    """Crop, colours, two random distortions and blur, in the strength that AMiF's authors use for pre-training.

    RandomResizedCrop of 70 to 100 % of the area (bicubic); ColorJitter (0.4, 0.4, 0.4, 0.1) in 60 % of the draws;
    greyscale in 10 %; two of identity, equalize, sharpness, shear, shift and rotation in 80 %; Gaussian blur with sigma
    0.1 to 2 in 30 %. Mirroring, which would make "left lung" wrong, is not among them.

    The draw depends on (seed, epoch, row) alone, as that of `LateralitySafeAugmentation`; the global random state is
    left as it was.

    Args:
        image_size: The sides of the square result, in pixels; at least 8.
        seed: Of the draws.
    """

    def __init__(self, image_size: int, seed: int = 0) -> None:
        self.seed = seed
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(image_size, scale=(0.7, 1.0), interpolation=BICUBIC, antialias=True),
                v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.6),
                v2.RandomGrayscale(p=0.1),
                v2.RandomApply([v2.Lambda(distort_twice)], p=0.8),
                v2.RandomApply([v2.GaussianBlur(13, sigma=(0.1, 2.0))], p=0.3),
            ]
        )

    def __call__(self, image: Image.Image, *, epoch: int, row: int) -> Image.Image:
        """`image`, RGB, changed as the draw of (seed, epoch, row) says: RGB, `image_size` square."""
        return apply_seeded(self.transform, image, f"{self.seed}:{epoch}:{row}")


def distort_twice(image: Image.Image) -> Image.Image:
    """Two of `DISTORTIONS`, drawn with replacement, one after the other, each in a random direction."""
    for choice in torch.randint(len(DISTORTIONS), (2,)).tolist():
        sign = 1 - 2 * int(torch.randint(2, ()))
        image = DISTORTIONS[choice](image, sign)
    return image
