"""A figure of a model's architecture, drawn from its own modules: names, layers, shapes and parameters are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from ...modeling_amif.pretraining_amif import AmifForPreTraining
from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from .plots import STYLE

# Of each model, its blocks by module name: column, row (0 at the bottom), and the blocks that feed it.
_ENCODERS = {
    "model.vision_model": (0, 1, ()),
    "model.text_model": (0, 0, ()),
    "model.image_projection": (1, 1, ("model.vision_model",)),
    "model.text_projection": (1, 0, ("model.text_model",)),
    "model.co_attention": (2, 0.5, ("model.image_projection", "model.text_projection")),
}

LAYOUTS = {
    AmifForPreTraining: {**_ENCODERS, "matching_head": (3, 0.5, ("model.co_attention",))},
    AmifForVisualQuestionAnswering: {
        **_ENCODERS,
        "knowledge_fusion": (3, 0.5, ("model.co_attention",)),
        "decoder_projection": (4, 0.5, ("knowledge_fusion",)),
        "decoder": (5, 0.5, ("decoder_projection",)),
    },
}

_COLORS = {"vision": "#dbe9f6", "image": "#dbe9f6", "text": "#e3f1dd", "co_at": "#fdebd0", "knowl": "#f8dcd7"}

_ENTRIES = {"model.vision_model": "image", "model.text_model": "text", "knowledge_fusion": "knowledge vocabulary"}

_ARROW = {"arrowstyle": "-|>", "color": "#4a5563", "lw": 1, "shrinkA": 2, "shrinkB": 0}

_WIDTH, _HEIGHT, _STEP = 2.5, 1.25, 2.95


@dataclass(frozen=True)
class Block:
    """One module of the figure.

    Attributes:
        name: Its name in the model.
        kind: Its class.
        stacks: Lengths of its own lists of layers, by their names.
        parameters: How many it has, counted once where they are shared with an earlier block.
        shapes: Of the tensors that it gave for one image and one text.
    """

    name: str
    kind: str
    stacks: dict[str, int]
    parameters: int
    shapes: list[tuple[int, ...]]


def read_blocks(model: nn.Module, inputs: Mapping[str, torch.Tensor]) -> list[Block]:
    """The blocks of a model in the order of its layout, with the shapes that they give for `inputs`.

    Args:
        model: `AmifForPreTraining` or `AmifForVisualQuestionAnswering`.
        inputs: Arguments of its forward. A block that this does not reach, such as a fusion without knowledge, has no
            shapes.
    """
    # What a model does without is None or the identity.
    modules = {name: module for name, module in model.named_modules() if not isinstance(module, nn.Identity)}
    names = [name for name in LAYOUTS[type(model)] if name in modules]
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def note_shapes(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        """Returns nothing: what a hook returns replaces the module's output. A block that runs twice is noted once."""
        shapes.setdefault(name, _shapes(output))

    hooks = [modules[name].register_forward_hook(partial(note_shapes, name)) for name in names]
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    counted: set[int] = set()
    blocks = []
    for name in names:
        own = {id(weight): weight.numel() for weight in modules[name].parameters() if id(weight) not in counted}
        counted |= own.keys()
        stacks = {
            path.split(".")[-1]: len(part)
            for path, part in modules[name].named_modules()
            if isinstance(part, nn.ModuleList)
        }
        blocks.append(Block(name, type(modules[name]).__name__, stacks, sum(own.values()), shapes.get(name, [])))
    return blocks


def _shapes(output: object) -> list[tuple[int, ...]]:
    """Of the states in a module's output: the first tensor of a model's output, the leading tensors of a tuple."""
    if isinstance(output, torch.Tensor):
        return [tuple(output.shape)]
    if isinstance(output, Mapping):
        return _shapes(next(value for value in output.values() if isinstance(value, torch.Tensor) and value.ndim > 1))
    leading = [
        value for value in (output if isinstance(output, tuple | list) else ()) if isinstance(value, torch.Tensor)
    ]
    # Of the fusion, the gate and the attention weights are no states that flow on.
    alike = [tensor for tensor in leading if tensor.shape != leading[0].shape and tensor.ndim == leading[0].ndim]
    return [tuple(tensor.shape) for tensor in [leading[0], *alike[:1]]]


def architecture_figure(model: nn.Module, blocks: Sequence[Block]) -> Figure:
    """The blocks of `read_blocks` as boxes, in the direction in which states flow."""
    layout = {block.name: LAYOUTS[type(model)][block.name] for block in blocks}
    # Columns in which nothing is left are closed up.
    left = sorted({column for column, _, _ in layout.values()})
    layout = {name: (left.index(column), row, sources) for name, (column, row, sources) in layout.items()}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.75 * (_STEP * len(left) + 0.9), 2.9), layout="constrained")
        axes = figure.add_subplot()
        for name, entry in _ENTRIES.items():
            if name in layout:
                _draw_entry(axes, entry, layout[name][:2], below=name == "knowledge_fusion")
        for block in blocks:
            column, row, sources = layout[block.name]
            _draw_block(axes, block, column, row)
            for source in _drawn_sources(sources, layout):
                _draw_arrow(axes, layout[source][:2], (column, row))
        total = sum(block.parameters for block in blocks)
        everything = sum(parameter.numel() for parameter in model.parameters())
        axes.set_title(f"{type(model).__name__}, {_short(everything)} parameters", loc="left", fontsize=11)
        if everything != total:
            axes.text(0, -0.42, f"not drawn: {everything - total:,} further parameters", fontsize=8, color="#606770")
        axes.set(xlim=(-1.2, _STEP * len(left) - 0.4), ylim=(-0.5 if everything != total else -0.1, 3.0))
        axes.set_axis_off()
    return figure


def _drawn_sources(sources: Sequence[str], layout: Mapping[str, tuple]) -> list[str]:
    """The sources themselves, or in place of one that the model does not have, what would feed that."""
    found = []
    for source in sources:
        if source in layout:
            found.append(source)
        else:
            feeding = next(whole[source][2] for whole in LAYOUTS.values() if source in whole)
            found += _drawn_sources(feeding, layout)
    return found


def _corner(column: float, row: float) -> tuple[float, float]:
    return _STEP * column, 1.65 * row


def _draw_block(axes: Axes, block: Block, column: float, row: float) -> None:
    x, y = _corner(column, row)
    short = block.name.removeprefix("model.")
    color = next((color for start, color in _COLORS.items() if short.startswith(start)), "#e9e6f5")
    axes.add_patch(
        FancyBboxPatch(
            (x, y), _WIDTH, _HEIGHT, boxstyle="round,pad=0,rounding_size=0.12", fc=color, ec="#4a5563", lw=0.9
        )
    )
    stacks = ", ".join(f"{length} {name}" for name, length in block.stacks.items())
    shapes = " ".join("×".join(map(str, shape)) for shape in block.shapes) or "not reached"
    lines = [block.kind, stacks, f"{_short(block.parameters)} parameters", f"gives {shapes}"]
    axes.text(x + _WIDTH / 2, y + _HEIGHT - 0.12, short, ha="center", va="top", fontsize=9, fontweight="bold")
    axes.text(
        x + _WIDTH / 2,
        y + _HEIGHT - 0.4,
        "\n".join(line for line in lines if line),
        ha="center",
        va="top",
        fontsize=7.2,
        linespacing=1.35,
    )


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x0, y0), (x1, y1) = _corner(*start), _corner(*end)
    shift = 0.25 * (start[1] - end[1])
    axes.annotate("", (x1, y1 + _HEIGHT / 2 + shift), (x0 + _WIDTH, y0 + _HEIGHT / 2), arrowprops=_ARROW)


def _draw_entry(axes: Axes, entry: str, place: tuple[float, float], below: bool) -> None:
    """What comes from outside, with an arrow into its block."""
    x, y = _corner(*place)
    tip, text = (x, y + _HEIGHT / 2), (x - 0.35, y + _HEIGHT / 2)
    if below:
        tip, text = (x + _WIDTH / 2, y), (x + _WIDTH / 2, y - 0.4)
    across, down = ("center", "top") if below else ("right", "center")
    axes.annotate(entry, tip, text, fontsize=9, arrowprops=_ARROW, ha=across, va=down)


def _short(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 100_000 else f"{number:,}"
