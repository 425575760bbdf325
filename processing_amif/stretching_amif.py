"""Numbers of any size as the 256 levels of an 8-bit image."""

import numpy as np


def stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Stretch values linearly from [low, high] to [0, 255]; what lies outside is clipped, and no range at all is black.

    Args:
        values: Finite numbers of any shape.
        low: What becomes 0.
        high: What becomes 255.

    Returns:
        The same shape in uint8.
    """
    low, high = float(low), float(high)
    if low == high:
        return np.zeros(values.shape, np.uint8)
    values = values.astype(np.float64)
    if not np.finfo(float).tiny * 256 < high - low < np.finfo(float).max / 256:
        # Differences of such numbers overflow, or are too small to divide by.
        largest = max(abs(low), abs(high))
        values, low, high = np.clip(values, low, high) / largest, low / largest, high / largest
    return np.rint(np.clip((values - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)
