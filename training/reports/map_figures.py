"""Figures 4 and 5 of the paper for any checkpoints: maps of chosen words over an image, and the gate's values."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from PIL import Image

from ..evaluation.localization import patches_in_box
from .plots import STYLE
from .word_maps import WordMaps, phrase_map, phrase_places

_BOX, _BLUE = "#36d0ff", "#2563a8"

# Clear where there is no more than an even share, then ever more opaque, so that the image stays readable.
_HEAT = LinearSegmentedColormap.from_list("heat", [(1, 0.75, 0.1, 0), (1, 0.55, 0.05, 0.65), (0.9, 0.1, 0.05, 0.85)])

_PANEL = 2.1


@dataclass(frozen=True)
class MappedStudy:
    """An image, and what is drawn over it.

    Attributes:
        image: What the maps are of.
        text: The report or question that they are of, written above them.
        phrases: Words of the text, a column each.
        maps: By the checkpoints' names, a row each.
        box: (x0, y0, x1, y1) in pixels of what the phrases name; each panel then says how much of its map lies inside.
    """

    image: Image.Image
    text: str
    phrases: Sequence[str]
    maps: Mapping[str, WordMaps]
    box: Sequence[float] | None = None

    def panels(self, kind: str) -> dict[str, list[np.ndarray]]:
        """Maps of the phrases by checkpoint."""
        return {
            name: [phrase_map(one.words, getattr(one, kind), phrase) for phrase in self.phrases]
            for name, one in self.maps.items()
        }


def word_map_figure(studies: Sequence[MappedStudy], kind: str) -> Figure:
    """In each study's part a row a checkpoint, a column a phrase; all panels on one scale.

    Parts stand side by side; where a gate is drawn, which makes them wide, one above the other.

    Args:
        studies: What is drawn, at least one.
        kind: "transport" (figure 4) or "attention" (figure 5, whose gated checkpoints get the gate's values too).
    """
    panels = [values for study in studies for row in study.panels(kind).values() for values in row]
    heat = ScalarMappable(Normalize(1, max(2.0, *(values.max() * values.size for values in panels))), _HEAT)
    gates = kind == "attention" and any(one.gate is not None for study in studies for one in study.maps.values())
    widths = [1 + len(study.phrases) + 2 * gates for study in studies]
    height = (_PANEL + 0.45) * len(studies[0].maps)
    with matplotlib.rc_context(STYLE):
        if gates:
            figure = Figure(figsize=(_PANEL * max(widths) + 0.9, height * len(studies)), layout="constrained")
            parts = figure.subfigures(len(studies), 1, squeeze=False).ravel()
        else:
            inches = [_PANEL * width for width in widths]
            inches[-1] += 0.9  # of the scale
            figure = Figure(figsize=(sum(inches), height), layout="constrained")
            parts = figure.subfigures(1, len(studies), squeeze=False, width_ratios=inches).ravel()
        maps_only = [_draw_study(part, study, kind, heat, gates) for part, study in zip(parts, studies, strict=True)]
        # Side by side one scale serves all; one above the other each part has room for its own.
        for part, axes in zip(parts, maps_only, strict=True) if gates else [(parts[-1], maps_only[-1])]:
            bar = part.colorbar(heat, ax=axes, shrink=0.8, pad=0.04)
            bar.set_label("patch's share / even share", fontsize=8)
            bar.ax.tick_params(labelsize=8)
    return figure


def _draw_study(part: SubFigure, study: MappedStudy, kind: str, heat: ScalarMappable, gates: bool) -> list[Axes]:
    """A study's panels in its part of the figure; those with a map, and the image beside them, are returned."""
    phrases = study.phrases
    grid = part.subplots(len(study.maps), 1 + len(phrases) + 2 * gates, squeeze=False)
    for axes, (name, panels) in zip(grid, study.panels(kind).items(), strict=True):
        _draw_image(axes[0], study.image, study.box)
        axes[0].set_ylabel(name)
        for panel, values, phrase in zip(axes[1:], panels, phrases, strict=False):
            _draw_image(panel, study.image, study.box)
            panel.imshow(
                values * values.size,
                cmap=heat.cmap,
                norm=heat.norm,
                extent=_extent(study.image),
                interpolation="nearest",
            )
            title = f"“{phrase}”"
            if study.box is not None:
                inside = patches_in_box(study.box, study.image.size, len(values))
                share, chance = 100 * values.ravel()[inside].sum(), 100 * inside.mean()
                title += f"\nin box {share:.0f} %, by chance {chance:.0f} %"
            shares = [study.maps[name].shares[place] for place in phrase_places(study.maps[name].words, phrase)]
            if kind == "attention" and min(shares) < 1:
                title += f"\n{100 * np.mean(shares):.0f} % of its attention"
            panel.set_title(title, fontsize=9)
        if gates:
            _draw_gate(axes[-2], study.image, study.maps[name])
            _draw_word_gates(axes[-1], study.maps[name], phrases)
    # A letter is about half as wide as it is high.
    letters = int(_PANEL * grid.shape[1] * 72 / (9 * 0.5))
    part.suptitle(textwrap.fill(study.text, letters), fontsize=9, color="#4a5563")
    return list(grid[:, : 1 + len(phrases)].ravel())


def _draw_image(axes: Axes, image: Image.Image, box: Sequence[float] | None) -> None:
    axes.imshow(image.convert("L"), cmap="gray", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if box is not None:
        x0, y0, x1, y1 = box
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, color=_BOX, linewidth=1.2))


def _extent(image: Image.Image) -> tuple[float, float, float, float]:
    """Where a map lies that covers an image whole: left, right, bottom and top."""
    return -0.5, image.width - 0.5, image.height - 0.5, -0.5


def _draw_gate(axes: Axes, image: Image.Image, maps: WordMaps) -> None:
    if maps.gate is None:
        axes.set_axis_off()
        return
    _draw_image(axes, image, None)
    extent = _extent(image)
    # From 0 to 1 in every figure: a gate that lets everything through alike must look so.
    drawn = axes.imshow(maps.gate, cmap="viridis", vmin=0, vmax=1, alpha=0.75, extent=extent, interpolation="nearest")
    axes.set_title(f"gate, patches\n{maps.gate.min():.2f} to {maps.gate.max():.2f}", fontsize=9)
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02).ax.tick_params(labelsize=8)


def _draw_word_gates(axes: Axes, maps: WordMaps, phrases: Sequence[str]) -> None:
    if maps.word_gates is None:
        axes.set_axis_off()
        return
    places = range(len(maps.words))
    underlined = {place for phrase in phrases for place in phrase_places(maps.words, phrase)}
    bars = axes.barh(places, maps.word_gates, color="#b9c3cf")
    for place in underlined:
        bars[place].set_color(_BLUE)
    axes.set_yticks(places, maps.words, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title(f"gate, words\n{min(maps.word_gates):.2f} to {max(maps.word_gates):.2f}", fontsize=9)
