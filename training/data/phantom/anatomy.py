"""What each plane and modality shows of the body."""

from typing import NamedTuple

import numpy as np


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


def rib_ring(rx: float, ry: float, count: int) -> list[Shape]:
    """Return `count` bone sections around an ellipse: the ribs of an axial slice."""
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False) + 0.3
    return [Shape(rx * np.cos(t), ry * np.sin(t), 0.075, 0.03, "bone", angle=t + np.pi / 2) for t in turns]


def pair(shape: Shape) -> list[Shape]:
    """Return the shape and its mirror image, the right half of the image first."""
    return [shape, shape._replace(x=-shape.x, angle=-shape.angle)]


def rib_dots(x: float, top: float, bottom: float, count: int) -> list[Shape]:
    """Return `count` pairs of small bone sections down both flanks: the ribs of a coronal slice."""
    return [dot for y in np.linspace(top, bottom, count) for dot in pair(Shape(x, y, 0.035, 0.05, "bone"))]


def column(x: float, top: float, bottom: float, rx: float, count: int, tissue: str, bend: float = 0.0) -> list[Shape]:
    """Return `count` block-like shapes one below the other, bowed sideways by `bend`: a spine."""
    ys = np.linspace(top, bottom, count)
    ry = 0.36 * (bottom - top) / (count - 1)
    middle, half = (top + bottom) / 2, (bottom - top) / 2
    return [Shape(x + bend * (1 - ((y - middle) / half) ** 2), y, rx, ry, tissue, square=True) for y in ys]


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


def rib_arcs(x: float, top: float, bottom: float, rx: float, count: int) -> list[Shape]:
    """Return `count` pairs of slanting thin ellipse outlines: the ribs of a frontal radiograph."""
    ys = np.linspace(top, bottom, count)
    return [arc for y in ys for arc in pair(Shape(x, y, rx, 0.10, "rib", angle=0.3, rim=0.035))]


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

# Where a finding may lie: the ellipse (x, y, rx, ry) in the image's right half, mirrored for the left half.
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
