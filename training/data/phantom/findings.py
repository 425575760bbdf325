"""What a finding looks like and where it is drawn."""

from typing import NamedTuple

import numpy as np

from .anatomy import SITES

FINDINGS = ("mass", "cyst", "nodule cluster", "calcification", "hemorrhage", "edema", "free air", "fluid level")

RADII = {"small": (0.145, 0.155), "large": (0.28, 0.30)}

# The thickness of a crescent at its middle, and half its length.
CRESCENTS = {"small": ((0.14, 0.16), (0.24, 0.27)), "large": ((0.22, 0.25), (0.60, 0.66))}

RIM_FINDINGS = ("hemorrhage", "free air")


def draw_mass(x: np.ndarray, y: np.ndarray, pixel: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return a solid bright lump with a lobed edge; here and below 1 is the finding's radius."""
    lobes, phase = rng.integers(4, 7), rng.uniform(0, 2 * np.pi)
    edge = 0.93 + 0.07 * np.cos(lobes * np.arctan2(y, x) + phase)
    return np.clip((edge - np.hypot(x, y)) / pixel + 0.5, 0, 1), 1.0


def disc(x: np.ndarray, y: np.ndarray, pixel: float, radius: float = 1.0) -> np.ndarray:
    """Return the coverage of a centred disc with an edge one pixel wide."""
    return np.clip((radius - np.hypot(x, y)) / pixel + 0.5, 0, 1)


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


class Lesion(NamedTuple):
    """What is to be drawn on the anatomy: `direction` is -1 or 1, the half of the image the finding lies in."""

    finding: str
    size: str
    direction: int


def place(organ: str, plane: str, direction: int) -> tuple[float, float, float, float]:
    """Return the ellipse (x, y, rx, ry) in which the finding lies; a sagittal image has one for both directions."""
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
