"""Plots of a result as SVG text, which stands in a page without any other file."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.confidence import reliability, risk_coverage_curve
from ..evaluation.results import Interval

_BLUE, _GREY = "#2563a8", "#8a8f98"

# Text as outlines, so that a page looks alike everywhere; a fixed salt, so that equal results give equal files.
STYLE: dict[Any, Any] = {  # matplotlib's stub lists its keys one by one
    "svg.fonttype": "path",
    "svg.hashsalt": "amif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def risk_coverage_plot(confidences: np.ndarray, correct: np.ndarray) -> str:
    """Error rate among the most confident answers against their share, beside that of all answers."""

    def draw(axes: Axes) -> None:
        coverages, risks = risk_coverage_curve(confidences, correct)
        axes.plot(100 * coverages, 100 * risks, color=_BLUE, label="most confident answers")
        axes.axhline(100 * (1 - correct.mean()), color=_GREY, linestyle="--", label="all answers")
        axes.set(xlabel="coverage in %", ylabel="wrong answers in %", xlim=(0, 100), ylim=(0, None))
        axes.legend(frameon=False)

    return _svg(draw)


def calibration_plot(confidences: np.ndarray, correct: np.ndarray) -> str:
    """Accuracy against confidence in bins, whose dots grow with the answers they hold."""

    def draw(axes: Axes) -> None:
        table = reliability(confidences, correct)
        sizes = 20 + 200 * np.array([one.n for one in table]) / len(confidences)
        points = [100 * one.confidence for one in table], [100 * one.accuracy for one in table]
        axes.plot([0, 100], [0, 100], color=_GREY, linestyle="--", label="calibrated")
        axes.plot(*points, color=_BLUE, linewidth=1)
        axes.scatter(*points, s=sizes, color=_BLUE, label="answers by confidence")
        axes.set(xlabel="confidence in %", ylabel="right answers in %", xlim=(-2, 102), ylim=(-2, 102))
        axes.legend(frameon=False)

    return _svg(draw)


def accuracy_plot(groups: Mapping[str, Interval]) -> str:
    """A line a group: accuracy with its interval, and the number of questions."""

    def draw(axes: Axes) -> None:
        for place, result in enumerate(reversed(list(groups.values()))):
            axes.plot(result.ci95, [place, place], color=_BLUE, linewidth=2)
            axes.plot(result.value, place, "o", color=_BLUE)
            axes.annotate(f"{result.value:.1f}", (result.value, place + 0.22), ha="center", fontsize=8)
        labels = [f"{name} ({result.n})" for name, result in reversed(list(groups.items()))]
        axes.set_yticks(range(len(groups)), labels, parse_math=False)
        axes.set(xlabel="accuracy in %, 95 % interval", xlim=(-2, 102), ylim=(-0.6, len(groups) - 0.4))
        axes.grid(axis="x", color="#e3e5e8")

    return _svg(draw, height=1 + 0.36 * len(groups))


def seeds_plot(values: Mapping[str, Sequence[float]], label: str) -> str:
    """A line a name: a dot for each seed's value, and a bar at their mean; `label` says what the values are."""

    def draw(axes: Axes) -> None:
        for place, of_seeds in enumerate(reversed(list(values.values()))):
            axes.plot(of_seeds, [place] * len(of_seeds), "o", color=_BLUE, alpha=0.6)
            mean = float(np.mean(of_seeds))
            axes.plot([mean, mean], [place - 0.25, place + 0.25], color=_BLUE, linewidth=2)
            axes.annotate(f"{mean:.1f}", (mean, place + 0.27), ha="center", fontsize=8)
        axes.set_yticks(range(len(values)), list(values)[::-1])
        axes.set(xlabel=f"{label}, a dot a seed, a bar at the mean", ylim=(-0.6, len(values) - 0.4))
        axes.grid(axis="x", color="#e3e5e8")

    return _svg(draw, height=1 + 0.36 * len(values))


def _svg(draw: Callable[[Axes], None], height: float = 3.6) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
