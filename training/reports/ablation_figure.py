"""A table of ablations as a figure: what each row changes here, and in the paper."""

from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from .plots import STYLE

_BLUE, _ORANGE, _GREY = "#2563a8", "#c2571a", "#8a8f98"


def ablation_figure(result: Mapping[str, Any]) -> Figure:
    """Differences to the baseline row of `ablation_results`: a dot a seed, mean and interval, and the paper's.

    A row that was not run shows the paper's figure alone; the baseline row is the line at zero.
    """
    names = [name for name in result["rows"] if name != result["baseline"]]
    base = result["rows"][result["baseline"]]["label"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.7 + 0.42 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=_GREY, linewidth=1)
        for place, name in enumerate(reversed(names)):
            _draw_row(axes, place, result["rows"][name])
        axes.set_yticks(range(len(names)), [f"{name}: {result['rows'][name]['label']}" for name in reversed(names)])
        axes.set(
            ylim=(-0.7, len(names) - 0.3), xlabel=f"accuracy less that of row {result['baseline']} ({base}), points"
        )
        axes.grid(axis="x", color="#e3e5e8")
        axes.set_title(result["caption"], loc="left", fontsize=11)
        axes.plot([], [], "o", color=_BLUE, alpha=0.5, label="here, a seed")
        axes.plot([], [], "|-", color=_BLUE, label="here, mean and 95 % interval over seeds")
        axes.plot([], [], "D", color=_ORANGE, markerfacecolor="white", label="paper, average of four data sets")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_row(axes: Any, place: int, row: Mapping[str, Any]) -> None:
    difference = row["difference"]
    if difference is not None:
        values = list(difference["by_seed"].values())
        axes.plot(values, [place] * len(values), "o", color=_BLUE, alpha=0.5)
        axes.plot([difference["mean"]] * 2, [place - 0.22, place + 0.22], color=_BLUE, linewidth=2)
        if difference["ci95"] is not None:
            axes.plot(difference["ci95"], [place, place], color=_BLUE, linewidth=1.5)
    if row["published_difference"] is not None:
        axes.plot(row["published_difference"], place, "D", color=_ORANGE, markerfacecolor="white")
