"""Where a transport plan sends the words of a finding: into the finding's true box, or anywhere."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr


def patches_in_box(box: Sequence[float], image_size: tuple[int, int], grid: int) -> np.ndarray:
    """Which patches of a square grid a box touches.

    Args:
        box: x0, y0, x1, y1 in pixels, ends exclusive.
        image_size: width and height in pixels of the picture that the box is about; the model sees it whole.
        grid: patches on a side.

    Returns:
        (grid * grid,) bool, in reading order.

    Raises:
        ValueError: where the box has no area or lies outside of the picture.
    """
    x0, y0, x1, y1 = box
    width, height = image_size
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(f"box {tuple(box)} has no area inside a picture of {width} x {height} pixels.")
    edges = np.arange(grid + 1) / grid
    columns = (edges[:-1] * width < x1) & (edges[1:] * width > x0)
    rows = (edges[:-1] * height < y1) & (edges[1:] * height > y0)
    return np.outer(rows, columns).ravel()


def phrase_positions(token_ids: Sequence[int], phrase_ids: Sequence[int]) -> list[int]:
    """Positions of all tokens of `token_ids` that belong to an occurrence of `phrase_ids`, in order."""
    tokens, phrase = list(token_ids), list(phrase_ids)
    starts = [i for i in range(len(tokens) - len(phrase) + 1) if phrase and tokens[i : i + len(phrase)] == phrase]
    return sorted({start + offset for start in starts for offset in range(len(phrase))})


def transport_localization(plan: np.ndarray, positions: Sequence[int], inside: np.ndarray) -> dict[str, float]:
    """How well the words at `positions` find a box.

    Args:
        plan: (p, t), patches by words; a class token's row must have been left out.
        positions: columns of the words, at least one.
        inside: (p,) bool of `patches_in_box`.

    Returns:
        `mass`: the share of the words' transport mass that lies inside; `chance`: the share of patches inside, what a
        uniform plan would reach; `hit`: 1.0 where the patch of most mass lies inside (the pointing game), else 0.0.
    """
    per_patch = plan[:, list(positions)].sum(axis=1)
    return {
        "mass": float(per_patch[inside].sum() / per_patch.sum()),
        "chance": float(inside.mean()),
        "hit": float(inside[per_patch.argmax()]),
    }


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
        if np.ptp(row) > 0 and np.ptp(shared) > 0:
            correlations.append(spearmanr(row, shared).statistic)
    return float(np.mean(correlations)) if correlations else math.nan
