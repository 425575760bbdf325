"""Where on the image a model's question goes: maps of attention, and of optimal transport for its single words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ...modeling_amif.encoders_amif import has_class_token
from ...modeling_amif.modeling_amif import AmifForVisualQuestionAnswering
from ...processing_amif import AmifProcessor
from ..losses.optimal_transport import transport_cost, transport_plan

AMBER = (255, 176, 32)
_EDGES = "?!.,;:()[]\"'"


@dataclass(frozen=True)
class QuestionMaps:
    """Maps of one question over one image, each (grid, grid) in float32, of sum 1: row 0 is the top of the image.

    Attributes:
        attention: The attention of the question's tokens over the patches, averaged over tokens, heads and layers of
            the co-attention; the share that goes to a class token is left out.
        transport: For each word of the question, the share of its mass that the exact transport plan between the
            question's fused tokens and the image's fused patches brings to each patch (equation 10 on the states that
            leave the co-attention). Fine-tuning on answers does not train these states to be near what a word means:
            only the local stage of pre-training does.
    """

    attention: np.ndarray
    transport: list[np.ndarray]


def question_words(
    processor: AmifProcessor, question: str, max_length: int | None = None
) -> list[tuple[str, list[int]]]:
    """The words of a question that the model reads, each with the places of its tokens in `input_ids`.

    A word stands between spaces, and its label is without the punctuation around it; what lies behind `max_length`
    tokens, by default the processor's `max_question_length`, is left out, as it is for the model.
    """
    text = question.lower() if processor.lowercase else question
    encoded = processor.tokenizer(
        text,
        truncation=True,
        max_length=max_length or processor.max_question_length,
        return_offsets_mapping=True,
    )
    words, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        end = start + len(word)
        places = [
            place for place, (first, last) in enumerate(encoded["offset_mapping"]) if start <= first < last <= end
        ]
        if places and word.strip(_EDGES):
            words.append((word.strip(_EDGES), places))
        start = end
    return words


@torch.no_grad()
def question_maps(
    model: AmifForVisualQuestionAnswering, inputs: Mapping[str, torch.Tensor], words: Sequence[Sequence[int]]
) -> QuestionMaps:
    """Maps of one question over one image.

    Args:
        model: In evaluation mode, with eager attention, the only one that keeps its weights.
        inputs: Of one image and one question, as the processor gives them; or `image_states` for `pixel_values`.
        words: Of each word the places of its tokens, as `question_words` gives them.

    Raises:
        ValueError: If the model's attention is not eager.
    """
    output = model.model(**inputs, output_attentions=True)
    length = inputs["input_ids"].shape[1]
    text, patches = output.last_hidden_state[0, :length], output.last_hidden_state[0, length:]
    first = int(has_class_token(len(patches)))
    attention = torch.stack(output.text_to_image_attentions)[:, 0].mean(dim=(0, 1))  # tokens x patches
    spoken = [place for places in words for place in places] or list(range(length))
    plan = transport_plan(transport_cost(patches[first:].unsqueeze(0), text[spoken].unsqueeze(0)))[0]
    columns = {place: column for column, place in enumerate(spoken)}
    return QuestionMaps(
        attention=_on_grid(attention[spoken].mean(dim=0)[first:]),
        transport=[_on_grid(plan[:, [columns[place] for place in places]].sum(dim=1)) for places in words],
    )


def draw_map(weights: np.ndarray, size: tuple[int, int], color: tuple[int, int, int] = AMBER) -> Image.Image:
    """A map as a layer to lay over its image: of one colour, more opaque where there is more weight.

    A patch of no more than an even share is clear, the heaviest is opaque; but where none has twice the even share,
    twice would be opaque, so that a map without a preference does not look as if it had one. The opacity is smoothed
    between patches, for the eye alone.

    Args:
        weights: (grid, grid), not negative, of sum 1.
        size: Width and height of the image in pixels; the model sees it whole.
        color: Red, green and blue.

    Returns:
        A picture of mode RGBA and that size.
    """
    excess = np.clip(weights * weights.size - 1, 0, None)
    opacity = np.rint(255 * excess / max(excess.max(), 1.0)).astype(np.uint8)
    layer = Image.new("RGBA", size, color)
    layer.putalpha(Image.fromarray(opacity).resize(size, Image.Resampling.BILINEAR))
    return layer


def _on_grid(weights: torch.Tensor) -> np.ndarray:
    grid = round(len(weights) ** 0.5)
    return (weights / weights.sum()).float().cpu().numpy().reshape(grid, grid)
