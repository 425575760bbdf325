"""Draw the phantom's images: anatomy from a few soft-edged shapes, one finding on top, then contrast and noise.

Coordinates run from -1 to 1, x to the right and y downwards. Images follow the radiological convention: the patient's
left is the image's right, and in sagittal images the front of the body is on the left.
"""

import math

import numpy as np

from .anatomy import GREYS, RADIOGRAPHS, SLICES, Shape
from .findings import Lesion, draw_lesion, place

Box = list[int]

# Below 1, so that findings alone reach white and a small untrained network can tell them from bone and fat.
BODY_BRIGHTNESS = 0.7

# Bounds how far a pixel's body coordinates lie from its place in the image, with room for soft edges.
LARGEST_WARP = 0.25


def draw(
    modality: str,
    plane: str,
    organ: str,
    lesion: Lesion | None,
    key: list[int],
    view: int = 0,
    image_size: int = 96,
) -> tuple[np.ndarray, Box | None]:
    """Draw one view of one study.

    Args:
        modality: "x-ray", "ct" or "mri".
        plane: "axial", "coronal" or "sagittal"; a radiograph cannot be axial.
        organ: "chest", "brain" or "abdomen".
        lesion: The finding, or None. Anatomy, crop, contrast and noise do not depend on it.
        key: The seed of this study; views of one key share anatomy and finding, not crop, contrast and noise.
        view: The number of the view.
        image_size: Side of the square image in pixels.

    Returns:
        The image, (image_size, image_size) uint8, and the finding's box [x0, y0, x1, y1] in pixels, the ends
        exclusive, or None without a finding.
    """
    anatomy_rng = np.random.default_rng([*key, 0])
    lesion_rng = np.random.default_rng([*key, 1])
    view_rng = np.random.default_rng([*key, 2 + view])
    x, y = warped_grid(image_size, view_rng)
    image = draw_anatomy(modality, plane, organ, x, y, 2 / image_size, anatomy_rng)
    box = None
    if lesion is not None:
        strength, grey = draw_lesion(lesion, place(organ, plane, lesion.direction), x, y, 2 / image_size, lesion_rng)
        image += strength * (grey - image)
        box = bounding_box(strength > 0)
    return develop(image, view_rng), box


def warped_grid(image_size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the body coordinates of each pixel, two (image_size, image_size) arrays: moved, turned, scaled, bent."""
    axis = (np.arange(image_size, dtype=np.float32) + 0.5) * 2 / image_size - 1
    x, y = np.meshgrid(axis, axis)
    turn, scale = rng.uniform(-0.05, 0.05), rng.uniform(0.97, 1.08)
    shift_x, shift_y, bend_x, bend_y = (rng.uniform(-0.03, 0.03, 4)).tolist()
    u = scale * (math.cos(turn) * x - math.sin(turn) * y) + shift_x
    v = scale * (math.sin(turn) * x + math.cos(turn) * y) + shift_y
    return u + bend_x * np.sin(3 * v), v + bend_y * np.sin(3 * u)


def draw_anatomy(
    modality: str,
    plane: str,
    organ: str,
    x: np.ndarray,
    y: np.ndarray,
    pixel: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the body without finding as greys around [0, 1], the shape of `x`; `pixel` is a pixel's width."""
    projected = modality == "x-ray"
    shapes = (RADIOGRAPHS if projected else SLICES)[organ, plane]
    jitter = rng.normal(1.0, 0.03, (len(shapes), 3)).tolist()
    softness = (2.5 if projected else 1.2) * pixel
    image = np.full_like(x, 0.04)
    for shape, (scale_x, scale_y, scale_grey) in zip(shapes, jitter, strict=True):
        varied = shape._replace(rx=shape.rx * scale_x, ry=shape.ry * scale_y)
        part = window(varied, len(x))
        cover = coverage(varied, x[part], y[part], softness)
        grey = GREYS[modality][shape.tissue] * scale_grey
        image[part] += cover * (grey if projected else grey - image[part])
    return BODY_BRIGHTNESS * np.clip(image, 0, 1)


def window(shape: Shape, image_size: int) -> tuple[slice, slice]:
    """Return the rows and columns outside which the shape covers nothing."""
    cos, sin = math.cos(shape.angle), math.sin(shape.angle)
    half_width = math.hypot(shape.rx * cos, shape.ry * sin) + LARGEST_WARP + shape.rim
    half_height = math.hypot(shape.rx * sin, shape.ry * cos) + LARGEST_WARP + shape.rim
    if shape.square:
        half_width, half_height = 1.2 * half_width, 1.2 * half_height
    return _pixels(shape.y, half_height, image_size), _pixels(shape.x, half_width, image_size)


def _pixels(centre: float, half_length: float, image_size: int) -> slice:
    first, last = (
        int(min(max((end + 1) * image_size / 2, 0), image_size)) for end in (centre - half_length, centre + half_length)
    )
    return slice(first, last + 1)


def coverage(shape: Shape, x: np.ndarray, y: np.ndarray, softness: float) -> np.ndarray:
    """Return how much of each pixel the shape covers, 0 to 1, its edge `softness` wide."""
    cos, sin = math.cos(shape.angle), math.sin(shape.angle)
    right, down = x - shape.x, y - shape.y
    u = ((cos * right + sin * down) / shape.rx) ** 2
    v = ((cos * down - sin * right) / shape.ry) ** 2
    radius = np.sqrt(np.sqrt(u * u + v * v) if shape.square else u + v)
    inside = (1 - radius) * min(shape.rx, shape.ry)
    if shape.rim:
        inside = shape.rim / 2 - np.abs(inside)
    return np.clip(inside / softness + 0.5, 0, 1)


def bounding_box(mask: np.ndarray) -> Box:
    """Return [x0, y0, x1, y1] around the True pixels of a (height, width) mask, the ends exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def develop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the greys as uint8 with this view's contrast, brightness and noise."""
    gamma, gain = rng.uniform(0.85, 1.2), rng.uniform(0.88, 1.0)
    noise = rng.uniform(0.008, 0.02) * rng.standard_normal(image.shape, dtype=np.float32)
    image = gain * np.clip(image, 0, 1) ** gamma + noise
    # 32 greys rather than 256 halve the PNG, which is stored again with every question about it.
    return (np.clip(np.round(image * 31), 0, 31) * 8).astype(np.uint8)
