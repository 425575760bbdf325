"""Where each word of a text goes on an image, by transport and by attention, and what the gate lets through.

For checkpoints of pre-training, whose text is a report, and for those that answer, whose text is a question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from ...modeling_amif.encoders_amif import has_class_token
from ...modeling_amif.pretraining_amif import AmifForPreTraining
from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from ...processing_amif import AmifProcessor
from ...processing_amif.report_normalization_amif import normalize_report
from ..data.pretraining_collator import report_length
from ..losses.optimal_transport import transport_cost, transport_plan

AMBER = (255, 176, 32)

_EDGES = "?!.,;:()[]\"'"

Model = AmifForPreTraining | AmifForVisualQuestionAnswering

# Each word with the places of its tokens.
Words = Sequence[tuple[str, list[int]]]


@dataclass(frozen=True)
class WordMaps:
    """Maps of a text over one image, each (grid, grid) float32; row 0 is the top of the image.

    Attributes:
        words: Those of the text that the model reads, in order.
        transport: For each word, the share of its mass that the exact plan between all words and all patches brings to
            each patch (equation 10), of sum 1, or 0 where another image gets all. Fine-tuning on answers does not train
            these states to be near what a word means: only the local stage of pre-training does.
        attention: For each word, its attention over the patches, averaged over heads and co-attention layers, the share
            of a class token left out; of sum 1.
        text_attention: The same of all words together, or of all tokens where the text holds no word.
        gate: Mean of the gate's values over the width, of each patch; None without a gate.
        word_gates: The same of each word; None without a gate.
        shares: Of a question about several images, the share of each word's attention that goes to this one; else 1.
    """

    words: list[str]
    transport: list[np.ndarray]
    attention: list[np.ndarray]
    text_attention: np.ndarray
    gate: np.ndarray | None = None
    word_gates: list[float] | None = None
    shares: list[float] = field(default_factory=list)


def word_maps(model: Model, processor: AmifProcessor, image: Image.Image, text: str) -> WordMaps:
    """Maps of a text over one image; see `view_maps`."""
    (maps,) = view_maps(model, processor, [image], text)
    return maps


def view_maps(model: Model, processor: AmifProcessor, images: Sequence[Image.Image], text: str) -> list[WordMaps]:
    """Maps of a text over each of the images that it is about, read together.

    Args:
        model: In evaluation mode; its attention is eager afterwards, the only one that keeps its weights.
        processor: The model's.
        images: The image, or of a question up to four.
        text: A report for a model of pre-training, else a question.

    Raises:
        ValueError: If the text holds no word, or a report has several images.
    """
    length = None
    if isinstance(model, AmifForPreTraining):
        if len(images) > 1:
            raise ValueError(f"A report is matched with one image, and here are {len(images)}: give one.")
        length, text = report_length(model), normalize_report(text)
        inputs = {**processor(images=images[0]), **processor.encode_reports([text], length)}
    else:
        inputs = processor(images=[list(images)], text=text)
    words = words_read(processor, text, length)
    if not words:
        raise ValueError(f"{text!r} holds no word that the model reads.")
    names = ("pixel_values", "image_index", "input_ids", "attention_mask")
    return _maps_of_views(model, {name: inputs[name].to(model.device) for name in names}, words, len(images))


def maps_of_words(model: Model, inputs: Mapping[str, torch.Tensor], words: Words) -> WordMaps:
    """Maps of a text over one image, both as the network takes them.

    Args:
        model: As for `view_maps`.
        inputs: Of one image and one text, as the processor gives them; or `image_states` for `pixel_values`.
        words: Of the text, as `words_read` gives them.
    """
    (maps,) = _maps_of_views(model, inputs, words, 1)
    return maps


@torch.no_grad()
def _maps_of_views(model: Model, inputs: Mapping[str, torch.Tensor], words: Words, number: int) -> list[WordMaps]:
    joint = model.model(**inputs, output_attentions=True)
    length = inputs["input_ids"].shape[1]
    tokens, patches = joint.last_hidden_state[0, :length], joint.last_hidden_state[0, length:]
    of_view = len(patches) // number
    # Places of patches among the tokens of all images, those of class tokens left out: (images, patches of one).
    places_of = torch.arange(len(patches)).view(number, of_view)[:, int(has_class_token(of_view)) :]
    spoken = [place for _, places in words for place in places] or list(range(length))
    cost = transport_cost(patches[places_of.flatten()].unsqueeze(0), tokens[spoken].unsqueeze(0))
    plan = transport_plan(cost)[0].cpu().numpy()
    columns = {place: column for column, place in enumerate(spoken)}
    attention = torch.stack(joint.text_to_image_attentions)[:, 0].mean(dim=(0, 1)).cpu().numpy()
    gate = _gate(model, joint.last_hidden_state)
    maps, grid = [], places_of.shape[1]
    for view, places_here in enumerate(places_of.numpy()):
        sent = plan[view * grid : (view + 1) * grid]
        seen = attention[:, places_here]
        of_all = attention[:, places_of.flatten().numpy()].sum(axis=1)
        maps.append(
            WordMaps(
                words=[word for word, _ in words],
                transport=[_share(sent[:, [columns[place] for place in places]].sum(axis=1)) for _, places in words],
                attention=[_share(seen[places].mean(axis=0)) for _, places in words],
                text_attention=_share(seen[spoken].mean(axis=0)),
                gate=None if gate is None else _grid(gate[length + places_here]),
                word_gates=None if gate is None else [float(gate[places].mean()) for _, places in words],
                shares=[float(seen[places].sum() / of_all[places].sum()) for _, places in words],
            )
        )
    return maps


def _gate(model: Model, states: torch.Tensor) -> np.ndarray | None:
    """(tokens + image tokens,) means of the gate's values over the width; None where the model has no gate."""
    if isinstance(model, AmifForPreTraining) or model.knowledge_fusion is None:
        return None
    knowledge = model.knowledge_states()
    if knowledge is None:
        return None
    _, gate, _ = model.knowledge_fusion(states, knowledge)
    return None if gate is None else gate[0].mean(dim=-1).float().cpu().numpy()


def _grid(values: np.ndarray) -> np.ndarray:
    side = round(len(values) ** 0.5)
    return values.reshape(side, side).astype(np.float32)


def _share(values: np.ndarray) -> np.ndarray:
    # Of several images a word may send nothing to one.
    return _grid(values / (values.sum() or 1))


def words_read(processor: AmifProcessor, text: str, max_length: int | None = None) -> list[tuple[str, list[int]]]:
    """The words of a text that the model reads, each with the places of its tokens in `input_ids`.

    A word stands between spaces, and its label is without the punctuation around it; what lies behind `max_length`
    tokens, by default the processor's `max_question_length`, is left out, as it is for the model.
    """
    text = text.lower() if processor.lowercase else text
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


def phrase_map(words: Sequence[str], maps: Sequence[np.ndarray], phrase: str) -> np.ndarray:
    """The mean map of the words of every occurrence of a phrase; ValueError where the text does not hold it."""
    return np.mean([maps[place] for place in phrase_places(words, phrase)], axis=0)


def phrase_places(words: Sequence[str], phrase: str) -> list[int]:
    """Places of the words of every occurrence of a phrase in a text; ValueError where the text does not hold it."""
    wanted = normalize_report(phrase).split()
    starts = [i for i in range(len(words)) if wanted and list(words[i : i + len(wanted)]) == wanted]
    if not starts:
        raise ValueError(f"{phrase!r} is not in the text as the model reads it: {' '.join(words)}")
    return [start + offset for start in starts for offset in range(len(wanted))]


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
        An image of mode RGBA and that size.
    """
    excess = np.clip(weights * weights.size - 1, 0, None)
    opacity = np.rint(255 * excess / max(excess.max(), 1.0)).astype(np.uint8)
    layer = Image.new("RGBA", size, color)
    layer.putalpha(Image.fromarray(opacity).resize(size, Image.Resampling.BILINEAR))
    return layer
