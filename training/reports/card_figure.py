"""The figure of a model card: bars of right answers, drawn with Pillow, which every installation has."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from ..evaluation.metrics import Metrics

# Of more question types the worst are shown.
_MOST_TYPES = 12

# Of the data's name so many letters stand in the title.
_LONGEST_NAME = 40

_INK, _GREY, _GRID, _BLUE, _AMBER = "#1d2733", "#5b6672", "#e3e5e8", "#86aede", "#b45309"
_WIDTH, _LEFT, _RIGHT, _ROW, _TITLE = 1200, 330, 130, 46, 104
_TEXT = 24


class Bar(NamedTuple):
    """A value in percent, and its 95 % interval where it has one."""

    label: str
    value: float
    interval: tuple[float, float] | None = None


def accuracy_figure(metrics: Metrics) -> bytes | None:
    """Right answers over all, by answer type and by question type, beside those of the question alone.

    Returns:
        A PNG file; None where nothing was scored, or a type's name has letters that Pillow's own font lacks.
    """
    scores = metrics.scores
    if scores.overall is None:
        return None
    types = sorted(scores.by_question_type.items(), key=lambda kind: kind[1].value)[:_MOST_TYPES]
    named = [*(scores.by_answer_type or scores.by_yes_no).items(), *reversed(types)]
    if not all(label.isascii() for label, _ in named):  # others would be drawn as boxes
        return None
    named = [("all questions", scores.overall), *named]
    bars = [Bar(label, result.value, result.ci95) for label, result in named]
    alone = metrics.baselines.get("question_only")
    data = "+".join(name.rpartition("/")[2] for name in metrics.dataset.split("+"))  # paths say where a disk has them
    title = f"Right answers in %: {data[:_LONGEST_NAME]}, {metrics.split}, protocol {metrics.protocol}"
    return draw_bars(title, bars, None if alone is None else Bar("the question alone, without image", alone.value))


def recall_figure(metrics: Mapping[str, Mapping[str, float]]) -> bytes | None:
    """Recall of reports and images; the argument is the content of pre-training's metrics.json.

    Returns:
        A PNG file; None where no recall was measured.
    """
    bars = [
        Bar(
            name.replace("_recall_", ": ").replace("i2t", "image to report").replace("t2i", "report to image"),
            100 * value,
        )
        for values in metrics.values()
        for name, value in values.items()
        if "recall" in name and "@" in name
    ]
    return draw_bars("Recall in %, within the split", bars) if bars else None


def draw_bars(title: str, bars: Sequence[Bar], reference: Bar | None = None) -> bytes:
    """Horizontal bars from 0 to 100 %, with whiskers for intervals and a mark on the first for what to compare it with.

    Returns:
        A PNG file, 1200 pixels wide, on white.
    """
    bottom = _TITLE + _ROW * len(bars)
    image = Image.new("RGB", (_WIDTH, bottom + 56), "white")
    draw = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(_TEXT), ImageFont.load_default(_TEXT - 4)
    scale = (_WIDTH - _LEFT - _RIGHT) / 100
    draw.text((24, 20), title, _INK, ImageFont.load_default(_TEXT + 4))
    for percent in range(0, 101, 25):
        x = _LEFT + scale * percent
        draw.line((x, _TITLE, x, bottom), _GRID, 2)
        draw.text((x, bottom + 8), str(percent), _GREY, small, anchor="ma")
    for place, (label, value, interval) in enumerate(bars):
        middle = _TITLE + _ROW * place + _ROW // 2
        draw.text((_LEFT - 16, middle), _shortened(label, font), _INK, font, anchor="rm")
        draw.rectangle((_LEFT, middle - 13, _LEFT + scale * value, middle + 13), _BLUE)
        end = value
        if interval is not None:
            low, end = interval
            draw.line((_LEFT + scale * low, middle, _LEFT + scale * end, middle), _INK, 3)
            for bound in interval:
                draw.line((_LEFT + scale * bound, middle - 8, _LEFT + scale * bound, middle + 8), _INK, 3)
        draw.text((_LEFT + scale * max(value, end) + 14, middle), f"{value:.1f}", _INK, font, anchor="lm")
    if reference is not None:
        x = _LEFT + scale * reference.value
        draw.line((x, _TITLE, x, _TITLE + _ROW - 4), _AMBER, 4)
        anchor = "ls" if reference.value < 50 else "rs"
        draw.text((x, _TITLE - 8), f"{reference.label}: {reference.value:.1f}", _AMBER, small, anchor=anchor)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of a label as stands beside the bars."""
    while font.getlength(text) > _LEFT - 40:
        text = f"{text.removesuffix('…')[:-1]}…"
    return text
