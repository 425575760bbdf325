"""A table of ablations as an image: what each row changes here, and in the paper."""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..reports.plots import STYLE
from .ablation_results import AblationResult, TableRowResult

_BLUE, _ORANGE, _GREY = "#2563a8", "#c2571a", "#8a8f98"


def ablation_figure(result: AblationResult) -> Figure:
    """Differences to the baseline row of `ablation_results`: a dot a seed, mean and interval, and the paper's.

    A row that was not run shows the paper's figure alone; the baseline row is the line at zero.
    """
    baseline = result.baseline
    rows = {name: row for name, row in reversed(result.rows.items()) if name != baseline}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.7 + 0.42 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=_GREY, linewidth=1)
        for place, row in enumerate(rows.values()):
            _draw_row(axes, place, row)
        axes.set_yticks(range(len(rows)), [f"{name}: {row.label}" for name, row in rows.items()])
        axes.set(
            ylim=(-0.7, len(rows) - 0.3),
            xlabel=f"accuracy less that of row {baseline} ({result.rows[baseline].label}), points",
        )
        axes.grid(axis="x", color="#e3e5e8")
        axes.set_title(result.caption, loc="left", fontsize=11)
        axes.plot([], [], "o", color=_BLUE, alpha=0.5, label="here, a seed")
        axes.plot([], [], "|-", color=_BLUE, label="here, mean and 95 % interval over seeds")
        axes.plot([], [], "D", color=_ORANGE, markerfacecolor="white", label="paper, average of four data sets")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_row(axes: Axes, place: int, row: TableRowResult) -> None:
    points = row.difference
    if points is not None and points.mean is not None:
        axes.plot(list(points.by_seed.values()), [place] * len(points.by_seed), "o", color=_BLUE, alpha=0.5)
        axes.plot([points.mean] * 2, [place - 0.22, place + 0.22], color=_BLUE, linewidth=2)
        if points.ci95 is not None:
            axes.plot(points.ci95, [place, place], color=_BLUE, linewidth=1.5)
    if row.published_difference is not None:
        axes.plot(row.published_difference, place, "D", color=_ORANGE, markerfacecolor="white")
