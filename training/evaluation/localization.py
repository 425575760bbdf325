"""Where the words of a finding go on an image: into the finding's true box, or anywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr


def patches_in_box(box: Sequence[float], image_size: tuple[int, int], grid: int) -> np.ndarray:
    """Which patches of a square grid a box touches.

    Args:
        box: (x0, y0, x1, y1) in pixels, ends exclusive.
        image_size: Width and height in pixels of the image that the box is about; the model sees it whole.
        grid: Patches on a side.

    Returns:
        (grid * grid,) bool, in reading order.

    Raises:
        ValueError: If the box has no area or lies outside of the image.
    """
    x0, y0, x1, y1 = box
    width, height = image_size
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(f"box {tuple(box)} has no area inside an image of {width} x {height} pixels.")
    edges = np.arange(grid + 1) / grid
    columns = (edges[:-1] * width < x1) & (edges[1:] * width > x0)
    rows = (edges[:-1] * height < y1) & (edges[1:] * height > y0)
    return np.outer(rows, columns).ravel()


def phrase_positions(token_ids: Sequence[int], phrase_ids: Sequence[int]) -> list[int]:
    """Positions of all tokens of `token_ids` that belong to an occurrence of `phrase_ids`, in order."""
    tokens, phrase = list(token_ids), list(phrase_ids)
    starts = [i for i in range(len(tokens) - len(phrase) + 1) if phrase and tokens[i : i + len(phrase)] == phrase]
    return sorted({start + offset for start in starts for offset in range(len(phrase))})


@dataclass(frozen=True)
class Localization:
    """How well what is laid over the patches of an image finds a box; of several studies the means.

    Attributes:
        mass: The share that lies inside.
        hit: 1.0 where the heaviest patch lies inside (the pointing game), else 0.0.
        chance: The share of the patches that lie inside, what even weights would reach in both.
    """

    mass: float
    hit: float
    chance: float


def localization(weights: np.ndarray, inside: np.ndarray) -> Localization:
    """Whether weights lie in a box.

    Args:
        weights: (p,) of the patches, not negative, such as the mass that a transport plan brings them.
        inside: (p,) bool of `patches_in_box`.
    """
    return Localization(
        mass=float(weights[inside].sum() / weights.sum()),
        hit=float(inside[weights.argmax()]),
        chance=float(inside.mean()),
    )


def mean_localization(found: Sequence[Localization]) -> Localization:
    """The mean of each figure; NaN where nothing was found."""
    if not found:
        return Localization(math.nan, math.nan, math.nan)
    figures = np.array([(one.mass, one.hit, one.chance) for one in found])
    return Localization(*figures.mean(axis=0).tolist())


def overlap_of_visible(visible: Sequence[Sequence[str | None]]) -> np.ndarray:
    """Jaccard overlap (n, n) of what is seen in n studies, each given as the values of the same properties, or None."""
    seen = [{(name, value) for name, value in enumerate(study) if value is not None} for study in visible]
    return np.array([[len(a & b) / max(len(a | b), 1) for b in seen] for a in seen])


def mean_rank_correlation(similarity: np.ndarray, overlap: np.ndarray) -> float:
    """Spearman's correlation of a study's similarities and overlaps with all other studies, mean over studies.

    Args:
        similarity: (n, n), a row the similarities of one study with all; the diagonal is not read.
        overlap: (n, n), likewise.

    Returns:
        -1 to 1. A study that is equally similar to all others, or shares equally much with them, does not count; NaN
        where that leaves none.
    """
    correlations = []
    for study in range(len(similarity)):
        row, shared = np.delete(similarity[study], study), np.delete(overlap[study], study)
        if len(row) and np.ptp(row) > 0 and np.ptp(shared) > 0:
            correlations.append(spearmanr(row, shared)[0])
    return float(np.mean(correlations)) if correlations else math.nan
