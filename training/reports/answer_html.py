"""What the demo shows of an answer, as HTML: the image with its map, the ranked answers, and what they are worth."""

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .word_maps import draw_map

SHOWN_PIXELS = 1024
GENERATED = ["phantom"]


@dataclass(frozen=True)
class Answered:
    """What a question has led to: (answer, log-likelihood) best first, and maps (grid, grid) with their names."""

    ranking: list[tuple[str, float]]
    names: list[str]
    maps: list[np.ndarray]
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """What the page says of the model beside its answers.

    Attributes:
        name: Of its folder, or on the Hub.
        learned_from: Names of data sets, its starts' included; none where the checkpoint does not say.
        number_of_answers: How many it chooses from.
        abstention_threshold: The log-likelihood below which it would rather give no answer; None where it has none.
    """

    name: str
    learned_from: Sequence[str]
    number_of_answers: int
    abstention_threshold: float | None

    @property
    def sources(self) -> str:
        """The data sets in words."""
        if list(self.learned_from) == GENERATED:
            return "phantom, generated drawings, alone"
        return ", ".join(self.learned_from) or "data that it does not name"


def viewer(image: Image.Image | None, weights: np.ndarray | None = None, message: str | None = None) -> str:
    """The image in its own proportions, with a map laid over it; or a message in its place."""
    if message is not None:
        return f'<div class="viewer"><p role="alert">{html.escape(message)}</p></div>'
    if image is None:
        return '<div class="viewer"><p>Drop an image, or choose an example.</p></div>'
    shown = image.copy()
    shown.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    layers = f'<img class="image" alt="The image" src="{data_uri(shown)}">'
    if weights is not None:
        grid = f"{len(weights)} x {len(weights)} patches"
        layers += f'<img class="map" alt="Map over {grid}" src="{data_uri(draw_map(weights, shown.size))}">'
    return f'<div class="viewer">{layers}</div>'


def data_uri(image: Image.Image) -> str:
    """An image as part of a page, so that no file of it is written."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def answer_panel(answered: Answered, checkpoint: Checkpoint, *, generated: bool) -> str:
    """Ranked answers with their probabilities, and whether the checkpoint would rather give none.

    Args:
        answered: What the question has led to.
        checkpoint: What answered.
        generated: The image is one of phantom's drawings.
    """
    (best, score), threshold = answered.ranking[0], checkpoint.abstention_threshold
    verdict = f'<p class="answer">{html.escape(best)}</p>'
    if threshold is not None and score < threshold:
        verdict = (
            '<p class="answer withheld">would not answer</p>'
            f"<p>The best answer is less probable than {percent(threshold)}, where this checkpoint withholds it.</p>"
        )
    rows = "".join(
        f"<tr><td>{html.escape(answer)}</td>"
        f'<td><meter aria-hidden="true" value="{math.exp(min(score, 0)):.4f}"></meter></td>'
        f"<td>{percent(score)}</td></tr>"
        for answer, score in answered.ranking
    )
    warning = ""
    if list(checkpoint.learned_from) == GENERATED and not generated:
        warning = '<p role="alert">This model has seen generated drawings alone: of a real image it knows nothing.</p>'
    return (
        f'<div class="answers">{verdict}{warning}<table aria-label="The most probable answers">{rows}</table>'
        "<p>The probability that the model gives to exactly this answer; the best of the "
        f"{checkpoint.number_of_answers} answers it knows. "
        "It is not the chance of being right: how often the model is, its model card says.</p>"
        f"<p>{html.escape(checkpoint.name)}, which learned from {html.escape(checkpoint.sources)}. "
        f"{answered.seconds:.2f} s</p></div>"
    )


def percent(score: float) -> str:
    """A log-likelihood as the probability of the answer's tokens."""
    return f"{100 * math.exp(min(score, 0)):.1f} %"


def map_note(word: str | None) -> str:
    """What the map of a word, or of the whole question, shows."""
    if word is None:
        shown = "Attention of the question's words over the image, mean of all heads and layers of the co-attention."
    else:
        shown = (
            f"Optimal transport between the word “{html.escape(word)}” and the image, by their fused states. Each word "
            "must send all of its share somewhere, also one that names nothing to be seen."
        )
    return f'<p class="note">{shown} Where a patch gets no more than an even share, the map is clear.</p>'
