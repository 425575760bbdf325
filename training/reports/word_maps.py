"""Where each word of a text goes on an image, by transport and by attention, and what the gate lets through.

For checkpoints of pre-training, whose text is a report, and for those that answer, whose text is a question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ...modeling_amif.encoders_amif import has_class_token
from ...modeling_amif.modeling_amif import AmifForVisualQuestionAnswering
from ...modeling_amif.pretraining_amif import AmifForPreTraining
from ...processing_amif import AmifProcessor
from ...processing_amif.report_normalization_amif import normalize_report
from ..base_pretrainer import report_length
from ..losses.optimal_transport import transport_cost, transport_plan
from .image_maps import question_words

Model = AmifForPreTraining | AmifForVisualQuestionAnswering


@dataclass(frozen=True)
class WordMaps:
    """Maps of a text over one image, each (grid, grid) float32; row 0 is the top of the image.

    Attributes:
        words: those of the text that the model reads, in order.
        transport: for each word, the share of its mass that the exact plan between all words and all patches brings to
            each patch (equation 10); of sum 1.
        attention: for each word, its attention over the patches, averaged over heads and co-attention layers, the share
            of a class token left out; of sum 1.
        gate: mean of the gate's values over the width, of each patch; None without a gate.
        word_gates: the same of each word; None without a gate.
    """

    words: list[str]
    transport: list[np.ndarray]
    attention: list[np.ndarray]
    gate: np.ndarray | None = None
    word_gates: list[float] | None = None


def word_maps(model: Model, processor: AmifProcessor, image: Image.Image, text: str) -> WordMaps:
    """Maps of a text over one image.

    Args:
        model: in evaluation mode, with eager attention, the only one that keeps its weights.
        processor: the model's.
        image: the picture.
        text: a report for a model of pre-training, else a question.

    Raises:
        ValueError: where the text holds no word, or attention is not eager.
    """
    inputs, words = _inputs(model, processor, image, text)
    with torch.no_grad():
        joint = model.model(**inputs, output_attentions=True)
        gate = _gate(model, inputs)
    length = inputs["input_ids"].shape[1]
    tokens, patches = joint.last_hidden_state[0, :length], joint.last_hidden_state[0, length:]
    first = int(has_class_token(len(patches)))
    spoken = [place for _, places in words for place in places]
    plan = transport_plan(transport_cost(patches[first:].unsqueeze(0), tokens[spoken].unsqueeze(0)))[0].cpu().numpy()
    columns = {place: column for column, place in enumerate(spoken)}
    attention = torch.stack(joint.text_to_image_attentions)[:, 0].mean(dim=(0, 1))[:, first:].cpu().numpy()
    return WordMaps(
        words=[word for word, _ in words],
        transport=[_share(plan[:, [columns[place] for place in places]].sum(axis=1)) for _, places in words],
        attention=[_share(attention[places].mean(axis=0)) for _, places in words],
        gate=None if gate is None else _grid(gate[length + first :]),
        word_gates=None if gate is None else [float(gate[places].mean()) for _, places in words],
    )


def _inputs(
    model: Model, processor: AmifProcessor, image: Image.Image, text: str
) -> tuple[Mapping[str, torch.Tensor], list[tuple[str, list[int]]]]:
    """What the network takes, and the words with the places of their tokens."""
    length = None
    if isinstance(model, AmifForPreTraining):
        length, text = report_length(model), normalize_report(text)
        inputs = {**processor(images=image), **processor.encode_reports([text], length)}
    else:
        inputs = processor(images=image, text=text)
    words = question_words(processor, text, length)
    if not words:
        raise ValueError(f"{text!r} holds no word that the model reads.")
    names = ("pixel_values", "input_ids", "attention_mask")
    return {name: inputs[name].to(model.device) for name in names}, words


def _gate(model: Model, inputs: Mapping[str, torch.Tensor]) -> np.ndarray | None:
    """(tokens + image tokens,) means of the gate's values over the width; None where the model has no gate."""
    if isinstance(model, AmifForPreTraining):
        return None
    gate = model.encode(**inputs, output_attentions=True).gate
    return None if gate is None else gate[0].mean(dim=-1).float().cpu().numpy()


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


def _grid(values: np.ndarray) -> np.ndarray:
    side = round(len(values) ** 0.5)
    return values.reshape(side, side).astype(np.float32)


def _share(values: np.ndarray) -> np.ndarray:
    return _grid(values / values.sum())


__all__ = ["WordMaps", "phrase_map", "phrase_places", "word_maps"]
