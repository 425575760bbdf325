"""Windows of grey values: which numbers are shown from black to white."""

from numbers import Integral, Real
from typing import Any

import numpy as np

# Centre and width in Hounsfield units, as radiologists commonly set them.
WINDOW_PRESETS = {
    "abdomen": (40, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (60, 160),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
}

Window = int | str | tuple[float, float] | list[float]


def check_frame_and_window(frame: Any, window: Any, least_width: float = 0.0) -> None:
    """Find what no file has: a frame that is no whole number, a window that is none.

    Args:
        frame: What a caller gives as one.
        window: Likewise.
        least_width: The window's, where it is more than 0: "LINEAR" of `open_window` takes 1.

    Raises:
        TypeError: If one of them is of another type.
        ValueError: If the window's centre and width are not two finite numbers, or the width is too small.
    """
    # True and False are whole numbers to Python.
    if frame is not None and (isinstance(frame, bool) or not isinstance(frame, Integral)):
        raise TypeError(f"frame is a {type(frame).__name__}: give the number of a frame, from 0, or None")
    parts = window if isinstance(window, tuple | list) else ()
    known = window is None or isinstance(window, str | Integral) or (parts and all(isinstance(p, Real) for p in parts))
    if not known or any(isinstance(part, bool) for part in (window, *parts)):
        raise TypeError(
            f"window is {window!r:.80}: give (centre, width), a preset's name, the number of one of the file's "
            "windows, or None"
        )
    finite = np.isfinite(np.asarray(parts, float)).all()
    if parts and not (len(parts) == 2 and finite and parts[1] > 0 and parts[1] >= least_width):
        least = f"of at least {least_width}" if least_width else "above 0"
        raise ValueError(f"the window {window!r:.80} is not (centre, width) with a width {least}")


def open_window(values: np.ndarray, center: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """A window opened on 0 to 255, by DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Args:
        values: Finite numbers of any shape.
        center: The window's centre, in the same unit.
        width: Its width; of "LINEAR" at least 1, else above 0.
        function: "LINEAR", "LINEAR_EXACT" or "SIGMOID".

    Returns:
        The same shape in uint8.
    """
    # Numbers too large for the difference or the power lie at an end of the window all the same.
    with np.errstate(over="ignore"):
        distance = values.astype(np.float64) - (center - 0.5 if function == "LINEAR" else center)
        if function == "SIGMOID":
            opened = 1 / (1 + np.exp(-4 * distance / width))
        else:
            width -= function == "LINEAR"
            opened = distance / width + 0.5 if width else distance > 0
    return np.rint(np.clip(opened, 0, 1) * 255).astype(np.uint8)
