"""Where a transport plan sends the words of a finding: into the finding's true box, or anywhere."""

from collections.abc import Sequence

import numpy as np


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
