"""A plot of results as SVG text, which stands in a page without any other file."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

_BLUE = "#2563a8"

# Text as outlines, so that a page looks alike everywhere; a fixed salt, so that equal results give equal files.
STYLE: dict[Any, Any] = {  # matplotlib's stub lists its keys one by one
    "svg.fonttype": "path",
    "svg.hashsalt": "amif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def seeds_plot(values: Mapping[str, Sequence[float]], label: str) -> str:
    """A line a name: a dot for each seed's value, and a bar at their mean; `label` says what the values are."""

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1 + 0.36 * len(values)), layout="constrained")
        axes = figure.add_subplot()
        for place, of_seeds in enumerate(reversed(list(values.values()))):
            axes.plot(of_seeds, [place] * len(of_seeds), "o", color=_BLUE, alpha=0.6)
            mean = float(np.mean(of_seeds))
            axes.plot([mean, mean], [place - 0.25, place + 0.25], color=_BLUE, linewidth=2)
            axes.annotate(f"{mean:.1f}", (mean, place + 0.27), ha="center", fontsize=8)
        axes.set_yticks(range(len(values)), list(values)[::-1])
        axes.set(xlabel=f"{label}, a dot a seed, a bar at the mean", ylim=(-0.6, len(values) - 0.4))
        axes.grid(axis="x", color="#e3e5e8")
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
