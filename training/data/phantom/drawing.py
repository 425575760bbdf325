"""Draw the phantom's pictures: anatomy from a few soft-edged shapes, one finding on top, then contrast and noise.

Coordinates run from -1 to 1, x to the right and y downwards. Pictures follow the radiological convention: the patient's
left is the picture's right, and in sagittal pictures the front of the body is on the left.
"""

import math
from typing import NamedTuple

import numpy as np

FINDINGS = ("mass", "cyst", "nodule cluster", "calcification", "hemorrhage", "edema", "free air", "fluid level")

Box = list[int]


class Shape(NamedTuple):
    """A filled ellipse or, where `square`, rounded rectangle; where `rim` is above 0 only its outline, `rim` thick."""

    x: float
    y: float
    rx: float
    ry: float
    tissue: str
    angle: float = 0.0
    square: bool = False
    rim: float = 0.0


class Lesion(NamedTuple):
    """What is to be drawn on the anatomy: `direction` is -1 or 1, the half of the picture the finding lies in."""

    finding: str
    size: str
    direction: int


def pair(shape: Shape) -> list[Shape]:
    """Return the shape and its mirror image, the right half of the picture first."""
    return [shape, shape._replace(x=-shape.x, angle=-shape.angle)]


def column(x: float, top: float, bottom: float, rx: float, count: int, tissue: str, bend: float = 0.0) -> list[Shape]:
    """Return `count` block-like shapes one below the other, bowed sideways by `bend`: a spine."""
    ys = np.linspace(top, bottom, count)
    ry = 0.36 * (bottom - top) / (count - 1)
    middle, half = (top + bottom) / 2, (bottom - top) / 2
    return [Shape(x + bend * (1 - ((y - middle) / half) ** 2), y, rx, ry, tissue, square=True) for y in ys]


def rib_arcs(x: float, top: float, bottom: float, rx: float, count: int) -> list[Shape]:
    """Return `count` pairs of slanting thin ellipse outlines: the ribs of a frontal radiograph."""
    ys = np.linspace(top, bottom, count)
    return [arc for y in ys for arc in pair(Shape(x, y, rx, 0.10, "rib", angle=0.3, rim=0.035))]


def rib_dots(x: float, top: float, bottom: float, count: int) -> list[Shape]:
    """Return `count` pairs of small bone sections down both flanks: the ribs of a coronal slice."""
    return [dot for y in np.linspace(top, bottom, count) for dot in pair(Shape(x, y, 0.035, 0.05, "bone"))]


def rib_ring(rx: float, ry: float, count: int) -> list[Shape]:
    """Return `count` bone sections around an ellipse: the ribs of an axial slice."""
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False) + 0.3
    return [Shape(rx * np.cos(t), ry * np.sin(t), 0.075, 0.03, "bone", angle=t + np.pi / 2) for t in turns]


def bowel(seed: int, x: float, y: float, rx: float, ry: float, count: int, tissue: str) -> list[Shape]:
    """Return `count` overlapping loops scattered over an ellipse, the same ones for the same `seed`."""
    rng = np.random.default_rng(seed)
    spots = rng.uniform(-1, 1, (count, 2))
    radii = rng.uniform(0.07, 0.12, (count, 2))
    return [Shape(x + rx * u, y + ry * v, a, b, tissue) for (u, v), (a, b) in zip(spots, radii, strict=True)]


SLICES: dict[tuple[str, str], list[Shape]] = {
    ("chest", "axial"): [
        Shape(0, 0, 0.95, 0.70, "fat"),
        Shape(0, 0, 0.87, 0.62, "muscle"),
        *rib_ring(0.80, 0.55, 14),
        *pair(Shape(0.40, -0.03, 0.34, 0.46, "lung", angle=-0.12)),
        Shape(0.0, -0.02, 0.14, 0.42, "muscle"),
        Shape(0.10, -0.12, 0.22, 0.25, "heart", angle=-0.5),
        Shape(0.10, 0.24, 0.06, 0.06, "heart"),
        Shape(0, 0.42, 0.14, 0.11, "bone"),
        Shape(0, 0.41, 0.10, 0.07, "marrow"),
        Shape(0, -0.53, 0.12, 0.03, "bone"),
    ],
    ("chest", "coronal"): [
        Shape(0, -0.9, 0.24, 0.4, "fat", square=True),
        Shape(0, -0.9, 0.19, 0.4, "muscle", square=True),
        Shape(0, 0.3, 0.92, 0.98, "fat", square=True),
        Shape(0, 0.3, 0.84, 0.92, "muscle", square=True),
        *pair(Shape(0.74, -0.50, 0.14, 0.14, "bone")),
        *pair(Shape(0.74, -0.50, 0.09, 0.09, "marrow")),
        *rib_dots(0.78, -0.25, 0.75, 7),
        *pair(Shape(0.40, 0.05, 0.31, 0.62, "lung", angle=-0.1)),
        Shape(-0.42, 0.86, 0.42, 0.28, "liver"),
        Shape(0.45, 0.88, 0.34, 0.22, "spleen"),
        Shape(0.10, 0.30, 0.25, 0.27, "heart", angle=0.4),
        Shape(0, -0.35, 0.10, 0.40, "muscle"),
        Shape(0, -0.55, 0.05, 0.38, "lung"),
    ],
    ("chest", "sagittal"): [
        Shape(-0.02, 0.15, 0.74, 1.05, "fat", square=True),
        Shape(-0.02, 0.15, 0.67, 1.00, "muscle", square=True),
        Shape(-0.12, 0.03, 0.46, 0.66, "lung"),
        Shape(-0.12, 0.80, 0.50, 0.30, "liver"),
        Shape(-0.32, 0.32, 0.20, 0.24, "heart", angle=0.4),
        Shape(-0.58, 0.05, 0.03, 0.45, "bone", angle=0.1),
        *column(0.42, -0.75, 0.92, 0.10, 9, "bone", bend=0.10),
        *column(0.42, -0.75, 0.92, 0.07, 9, "marrow", bend=0.10),
    ],
    ("brain", "axial"): [
        Shape(0, -0.90, 0.09, 0.09, "fat"),
        Shape(0, 0, 0.76, 0.92, "fat"),
        Shape(0, 0, 0.71, 0.87, "bone"),
        Shape(0, 0, 0.63, 0.79, "csf"),
        *pair(Shape(0.305, 0, 0.295, 0.75, "grey matter")),
        *pair(Shape(0.30, 0, 0.20, 0.60, "white matter")),
        *pair(Shape(0.10, -0.14, 0.05, 0.20, "csf", angle=-0.25)),
        *pair(Shape(0.13, 0.18, 0.05, 0.18, "csf", angle=0.35)),
    ],
    ("brain", "coronal"): [
        Shape(0, 0.75, 0.42, 0.6, "fat", square=True),
        Shape(0, 0.75, 0.36, 0.6, "muscle", square=True),
        Shape(0, -0.17, 0.80, 0.76, "fat"),
        Shape(0, -0.17, 0.75, 0.71, "bone"),
        Shape(0, -0.17, 0.67, 0.63, "csf"),
        *pair(Shape(0.33, -0.20, 0.32, 0.58, "grey matter")),
        *pair(Shape(0.33, -0.26, 0.21, 0.42, "white matter")),
        *pair(Shape(0.10, -0.25, 0.05, 0.14, "csf", angle=0.6)),
        Shape(0, 0.30, 0.12, 0.26, "white matter"),
        *pair(Shape(0.24, 0.72, 0.05, 0.28, "bone")),
    ],
    ("brain", "sagittal"): [
        Shape(-0.38, 0.50, 0.40, 0.42, "fat", square=True),
        Shape(-0.34, 0.50, 0.36, 0.38, "muscle", square=True),
        Shape(0.22, 0.72, 0.32, 0.5, "fat", square=True),
        Shape(0.22, 0.72, 0.27, 0.5, "muscle", square=True),
        Shape(0.02, -0.22, 0.94, 0.68, "fat"),
        Shape(0.02, -0.22, 0.89, 0.63, "bone"),
        Shape(0.02, -0.22, 0.81, 0.55, "csf"),
        Shape(0.00, -0.26, 0.78, 0.50, "grey matter"),
        Shape(-0.02, -0.18, 0.48, 0.26, "white matter"),
        Shape(-0.02, -0.10, 0.34, 0.12, "csf"),
        Shape(0.20, 0.30, 0.10, 0.42, "white matter", angle=-0.1),
        Shape(0.46, 0.22, 0.25, 0.17, "grey matter"),
        Shape(0.46, 0.22, 0.12, 0.07, "white matter"),
        *column(0.33, 0.58, 1.0, 0.07, 4, "bone"),
        Shape(-0.45, 0.55, 0.26, 0.04, "bone"),
    ],
    ("abdomen", "axial"): [
        Shape(0, 0, 0.96, 0.72, "fat"),
        Shape(0, 0, 0.86, 0.62, "muscle"),
        Shape(0, -0.02, 0.80, 0.55, "mesentery"),
        Shape(-0.38, -0.08, 0.40, 0.40, "liver", angle=0.3),
        Shape(0.60, 0.12, 0.17, 0.26, "spleen", angle=0.3),
        Shape(0.34, -0.24, 0.27, 0.18, "bowel", angle=0.3),
        Shape(0.38, -0.32, 0.12, 0.06, "gas"),
        *pair(Shape(0.33, 0.28, 0.13, 0.16, "kidney", angle=0.4)),
        Shape(0, 0.40, 0.16, 0.13, "bone"),
        Shape(0, 0.39, 0.12, 0.09, "marrow"),
        Shape(0, 0.58, 0.03, 0.09, "bone"),
        *pair(Shape(0.19, 0.47, 0.10, 0.10, "muscle")),
        Shape(0.05, 0.20, 0.06, 0.06, "heart"),
        Shape(-0.09, 0.19, 0.06, 0.05, "heart"),
    ],
    ("abdomen", "coronal"): [
        Shape(0, 0, 0.92, 1.3, "fat", square=True),
        Shape(0, 0, 0.80, 1.3, "muscle", square=True),
        Shape(0, 0, 0.72, 1.3, "mesentery", square=True),
        Shape(-0.32, -0.52, 0.42, 0.40, "liver", angle=-0.3),
        Shape(0.48, -0.55, 0.22, 0.28, "spleen"),
        *pair(Shape(0.38, 0.02, 0.13, 0.24, "kidney", angle=-0.2)),
        Shape(0, -0.1, 0.13, 0.9, "muscle"),
        *pair(Shape(0.18, 0.25, 0.09, 0.45, "muscle", angle=-0.2)),
        *column(0, -0.95, 0.5, 0.10, 7, "bone"),
        *column(0, -0.95, 0.5, 0.07, 7, "marrow"),
        *bowel(1, 0.0, 0.55, 0.55, 0.18, 12, "bowel"),
        *pair(Shape(0.58, 0.72, 0.10, 0.26, "bone", angle=-0.5)),
        *pair(Shape(0.58, 0.72, 0.06, 0.21, "marrow", angle=-0.5)),
    ],
    ("abdomen", "sagittal"): [
        Shape(0, 0, 0.78, 1.3, "fat", square=True),
        Shape(0.02, 0, 0.66, 1.3, "muscle", square=True),
        Shape(-0.12, 0, 0.46, 1.3, "mesentery", square=True),
        Shape(-0.16, -0.58, 0.40, 0.36, "liver"),
        Shape(0.18, 0.0, 0.11, 0.24, "kidney"),
        *bowel(2, -0.18, 0.35, 0.26, 0.45, 16, "bowel"),
        *column(0.44, -0.95, 0.85, 0.13, 8, "bone", bend=-0.10),
        *column(0.44, -0.95, 0.85, 0.09, 8, "marrow", bend=-0.10),
        Shape(0.66, 0, 0.03, 0.9, "bone"),
    ],
}

RADIOGRAPHS: dict[tuple[str, str], list[Shape]] = {
    ("chest", "coronal"): [
        Shape(0, -0.85, 0.28, 0.5, "body", square=True),
        Shape(0, 0.35, 0.96, 1.05, "body", square=True),
        *pair(Shape(0.42, 0.02, 0.33, 0.68, "air", angle=-0.1)),
        Shape(0.12, 0.34, 0.27, 0.28, "organ", angle=0.4),
        Shape(0, -0.1, 0.11, 0.8, "organ", square=True),
        Shape(0, -0.65, 0.045, 0.35, "air", square=True),
        *column(0, -0.95, 0.9, 0.08, 12, "spine"),
        *rib_arcs(0.42, -0.50, 0.55, 0.40, 6),
        *pair(Shape(0.42, -0.66, 0.36, 0.035, "bone", angle=-0.25)),
    ],
    ("chest", "sagittal"): [
        Shape(0, 0.2, 0.80, 1.15, "body", square=True),
        Shape(-0.10, 0.02, 0.50, 0.68, "air"),
        Shape(-0.30, 0.32, 0.24, 0.28, "organ", angle=0.4),
        Shape(-0.10, 0.85, 0.52, 0.25, "organ"),
        Shape(-0.62, 0.0, 0.03, 0.45, "bone", angle=0.1),
        *column(0.44, -0.85, 0.95, 0.11, 10, "spine", bend=0.12),
        *[Shape(-0.05, y, 0.52, 0.16, "rib", angle=-0.5, rim=0.03) for y in np.linspace(-0.45, 0.5, 5)],
    ],
    ("brain", "coronal"): [
        Shape(0, -0.15, 0.72, 0.78, "skull"),
        Shape(0, -0.15, 0.70, 0.76, "bone", rim=0.07),
        Shape(0, 0.45, 0.48, 0.50, "body", square=True),
        *pair(Shape(0.27, 0.22, 0.17, 0.14, "air")),
        *pair(Shape(0.27, 0.22, 0.18, 0.15, "rib", rim=0.04)),
        Shape(0, 0.42, 0.10, 0.20, "air"),
        Shape(0, 0.70, 0.26, 0.035, "bone"),
        *[Shape(x, 0.72, 0.025, 0.09, "bone", square=True) for x in np.linspace(-0.22, 0.22, 6)],
        Shape(0, 0.55, 0.46, 0.42, "rib", rim=0.08, square=True),
    ],
    ("brain", "sagittal"): [
        Shape(0.05, -0.22, 0.86, 0.68, "skull"),
        Shape(0.05, -0.22, 0.84, 0.66, "bone", rim=0.07),
        Shape(-0.50, 0.40, 0.28, 0.40, "body", square=True),
        Shape(-0.52, 0.12, 0.15, 0.12, "air"),
        Shape(-0.50, 0.78, 0.30, 0.05, "bone", angle=-0.2),
        *[Shape(x, 0.58, 0.022, 0.09, "bone", square=True) for x in np.linspace(-0.72, -0.4, 5)],
        Shape(0.28, 0.75, 0.30, 0.45, "body", square=True),
        *column(0.30, 0.50, 1.0, 0.09, 5, "spine"),
        Shape(0.12, 0.32, 0.10, 0.07, "bone"),
    ],
    ("abdomen", "coronal"): [
        Shape(0, 0, 0.92, 1.3, "body", square=True),
        Shape(-0.42, -0.60, 0.40, 0.36, "faint"),
        *bowel(3, 0.0, 0.05, 0.55, 0.45, 9, "gas"),
        *column(0, -0.95, 0.62, 0.13, 7, "spine"),
        *pair(Shape(0.52, 0.66, 0.28, 0.26, "bone", angle=0.6)),
        Shape(0, 0.78, 0.17, 0.22, "bone"),
        *[arc for y in (-0.85, -0.62) for arc in pair(Shape(0.48, y, 0.40, 0.10, "rib", angle=0.4, rim=0.04))],
    ],
    ("abdomen", "sagittal"): [
        Shape(0, 0, 0.80, 1.3, "body", square=True),
        Shape(-0.15, -0.62, 0.45, 0.32, "faint"),
        *bowel(4, -0.22, 0.15, 0.26, 0.50, 8, "gas"),
        *column(0.42, -0.95, 0.60, 0.16, 7, "spine", bend=-0.08),
        Shape(0.48, 0.80, 0.22, 0.28, "bone", angle=-0.4),
    ],
}

# A radiograph is a projection, so its numbers are added up; a slice's are the grey of each tissue.
GREYS: dict[str, dict[str, float]] = {
    "x-ray": {
        "body": 0.42,
        "organ": 0.24,
        "faint": 0.07,
        "skull": 0.36,
        "air": -0.24,
        "gas": -0.13,
        "bone": 0.26,
        "spine": 0.20,
        "rib": 0.15,
    },
    "ct": {
        "fat": 0.30,
        "mesentery": 0.30,
        "muscle": 0.48,
        "lung": 0.26,
        "gas": 0.05,
        "heart": 0.58,
        "liver": 0.54,
        "spleen": 0.52,
        "kidney": 0.60,
        "bowel": 0.46,
        "bone": 1.0,
        "marrow": 0.80,
        "grey matter": 0.46,
        "white matter": 0.40,
        "csf": 0.22,
    },
    "mri": {
        "fat": 0.88,
        "mesentery": 0.50,
        "muscle": 0.42,
        "lung": 0.20,
        "gas": 0.03,
        "heart": 0.12,
        "liver": 0.36,
        "spleen": 0.26,
        "kidney": 0.62,
        "bowel": 0.34,
        "bone": 0.04,
        "marrow": 0.56,
        "grey matter": 0.34,
        "white matter": 0.54,
        "csf": 0.10,
    },
}

# Below 1, so that findings alone reach white and a small untrained network can tell them from bone and fat.
BODY_BRIGHTNESS = 0.7

# Where a finding may lie: the ellipse (x, y, rx, ry) in the picture's right half, mirrored for the left half.
SITES: dict[tuple[str, str], tuple[float, float, float, float]] = {
    ("chest", "axial"): (0.41, -0.03, 0.31, 0.43),
    ("chest", "coronal"): (0.42, 0.02, 0.30, 0.58),
    ("chest", "sagittal"): (-0.12, 0.03, 0.43, 0.60),
    ("brain", "axial"): (0.31, 0.00, 0.29, 0.66),
    ("brain", "coronal"): (0.34, -0.20, 0.30, 0.52),
    ("brain", "sagittal"): (0.00, -0.26, 0.72, 0.44),
    ("abdomen", "axial"): (0.42, -0.06, 0.34, 0.44),
    ("abdomen", "coronal"): (0.40, -0.10, 0.32, 0.66),
    ("abdomen", "sagittal"): (-0.16, -0.05, 0.38, 0.66),
}

# Bounds how far a pixel's body coordinates lie from its place in the picture, with room for soft edges.
LARGEST_WARP = 0.25

RADII = {"small": (0.145, 0.155), "large": (0.28, 0.30)}
# The thickness of a crescent at its middle, and half its length.
CRESCENTS = {"small": ((0.14, 0.16), (0.24, 0.27)), "large": ((0.22, 0.25), (0.60, 0.66))}
RIM_FINDINGS = ("hemorrhage", "free air")


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
        lesion: the finding, or None. Anatomy, crop, contrast and noise do not depend on it.
        key: the seed of this study; views of one key share anatomy and finding, not crop, contrast and noise.
        view: the number of the view.
        image_size: side of the square picture in pixels.

    Returns:
        The picture, (image_size, image_size) uint8, and the finding's box [x0, y0, x1, y1] in pixels, the ends
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


def place(organ: str, plane: str, direction: int) -> tuple[float, float, float, float]:
    """Return the ellipse (x, y, rx, ry) in which the finding lies; a sagittal picture has one for both directions."""
    x, y, rx, ry = SITES[organ, plane]
    return (x if plane == "sagittal" else x * direction), y, rx, ry


def draw_lesion(
    lesion: Lesion,
    site: tuple[float, float, float, float],
    x: np.ndarray,
    y: np.ndarray,
    pixel: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray | float]:
    """Return the finding's opacity, 0 to 1 in the shape of `x`, and its grey."""
    if lesion.finding in RIM_FINDINGS:
        return draw_rim(lesion, site, x, y, pixel, rng)
    site_x, site_y, rx, ry = site
    radius = rng.uniform(*RADII[lesion.size])
    turn, reach = rng.uniform(0, 2 * np.pi), 0.7 * np.sqrt(rng.uniform(0, 1))
    centre_x = site_x + max(rx - radius, 0) * reach * np.cos(turn)
    centre_y = site_y + max(ry - radius, 0) * reach * np.sin(turn)
    painter = ROUND_FINDINGS[lesion.finding]
    return painter((x - centre_x) / radius, (y - centre_y) / radius, pixel / radius, rng)


def draw_rim(
    lesion: Lesion,
    site: tuple[float, float, float, float],
    x: np.ndarray,
    y: np.ndarray,
    pixel: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray | float]:
    """Return a crescent along the outer wall: bright blood, or dark air that a bright line separates."""
    site_x, site_y, rx, ry = site
    thickness, half_length = (rng.uniform(low, high) for low, high in CRESCENTS[lesion.size])
    u, v = (x - site_x) / rx * lesion.direction, (y - site_y) / ry
    depth = (1 - np.hypot(u, v)) * min(rx, ry)
    turn = np.arctan2(v, u) - rng.uniform(-0.25, 0.25)
    inner = thickness * (1 - (turn * ry / half_length) ** 2) - depth
    strength = np.clip(np.minimum(depth, inner) / pixel + 0.5, 0, 1)
    line = np.clip(2.1 - inner / pixel, 0, 1)
    return strength, (1.0 if lesion.finding == "hemorrhage" else 0.02 + 0.98 * line)


def disc(x: np.ndarray, y: np.ndarray, pixel: float, radius: float = 1.0) -> np.ndarray:
    """Return the coverage of a centred disc with an edge one pixel wide."""
    return np.clip((radius - np.hypot(x, y)) / pixel + 0.5, 0, 1)


def draw_mass(x: np.ndarray, y: np.ndarray, pixel: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return a solid bright lump with a lobed edge; here and below 1 is the finding's radius."""
    lobes, phase = rng.integers(4, 7), rng.uniform(0, 2 * np.pi)
    edge = 0.93 + 0.07 * np.cos(lobes * np.arctan2(y, x) + phase)
    return np.clip((edge - np.hypot(x, y)) / pixel + 0.5, 0, 1), 1.0


def draw_cyst(x: np.ndarray, y: np.ndarray, pixel: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a dark disc in a thin bright wall."""
    return disc(x, y, pixel), 1.0 - 0.98 * disc(x, y, pixel, 1 - 1.6 * pixel)


def draw_nodules(x: np.ndarray, y: np.ndarray, pixel: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return four separate bright discs, one in the middle and three around it."""
    turns = np.arange(3) * 2 * np.pi / 3 + rng.uniform(0, 2 * np.pi)
    spots = [(0.0, 0.0), *zip(0.7 * np.cos(turns), 0.7 * np.sin(turns), strict=True)]
    return np.max([disc(x - u, y - v, pixel, 0.29) for u, v in spots], axis=0), 1.0


def draw_calcification(
    x: np.ndarray, y: np.ndarray, pixel: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Return two parallel white lines: the calcified walls of a vessel."""
    turn = rng.uniform(-0.3, 0.3)
    across, along = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    line = 0.9 * pixel - np.abs(np.abs(across) - 0.38)
    return np.clip(np.minimum(line, 0.92 - np.abs(along)) / pixel + 0.5, 0, 1), 1.0


def draw_edema(x: np.ndarray, y: np.ndarray, pixel: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return a haze without an edge, crossed by short level lines."""
    haze = 0.85 * np.clip(1 - np.hypot(x, y) ** 4, 0, 1)
    phase = rng.uniform(0, 2 * np.pi)
    return haze * (0.65 + 0.35 * np.cos(2 * np.pi * y / (4 * pixel) + phase)), 1.0


def draw_fluid_level(
    x: np.ndarray, y: np.ndarray, pixel: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a round cavity half full: dark air above a level line, bright fluid below."""
    level = rng.uniform(-0.1, 0.1)
    air = np.minimum(disc(x, y, pixel, 1 - 1.4 * pixel), np.clip((level - y) / pixel + 0.5, 0, 1))
    return disc(x, y, pixel), 1.0 - 0.98 * air


ROUND_FINDINGS = {
    "mass": draw_mass,
    "cyst": draw_cyst,
    "nodule cluster": draw_nodules,
    "calcification": draw_calcification,
    "edema": draw_edema,
    "fluid level": draw_fluid_level,
}


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
