"""Whether the words of a finding go to its true box: mass inside and the pointing game, against chance."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from ..processing_amif import AmifProcessor
from .data.phantom import FINDING_NAMES
from .evaluation.localization import patches_in_box
from .evaluation.word_maps import Model, WordMaps, phrase_map, word_maps

Study = Mapping[str, Any]


def finding_question(study: Study) -> str:
    """The question that names a phantom study's finding, for a model that answers."""
    return f"is there {FINDING_NAMES[study['finding']]}?"


def finding_localization(
    model: Model, processor: AmifProcessor, studies: Sequence[Study], text: Callable[[Study], str]
) -> dict[str, dict[str, float]]:
    """How well the words that name a finding find its box on the first view.

    Args:
        model: in evaluation mode, with eager attention.
        processor: the model's.
        studies: rows with `images`, `finding` and `box`, as phantom's for pre-training; those without a finding, or
            whose text does not name it, are left out.
        text: what the model reads of a study: its report, or a question such as `finding_question`.

    Returns:
        Of "transport" and "attention" the means over studies of `mass`, the share inside the box, and `hit`, how often
        the heaviest patch lies inside (the pointing game); for both `chance`, the box's share of the patches, and `n`.

    Raises:
        ValueError: where no study's text names its finding.
    """
    found = []
    for study in studies:
        if study["finding"] is None:
            continue
        image = study["images"][0]
        maps = word_maps(model, processor, image, text(study))
        if f" {study['finding']} " in f" {' '.join(maps.words)} ":
            found.append(_one(maps, study["finding"], study["box"][0], image.size))
    if not found:
        raise ValueError(f"None of {len(studies)} studies has a text that names its finding.")
    return {kind: {name: fmean(one[kind][name] for one in found) for name in found[0][kind]} for kind in found[0]} | {
        "n": len(found)
    }


def _one(maps: WordMaps, finding: str, box: Sequence[float], size: tuple[int, int]) -> dict[str, dict[str, float]]:
    measured = {}
    for kind in ("transport", "attention"):
        values = phrase_map(maps.words, getattr(maps, kind), finding).ravel()
        inside = patches_in_box(box, size, round(len(values) ** 0.5))
        measured[kind] = {
            "mass": float(values[inside].sum()),
            "hit": float(inside[values.argmax()]),
            "chance": float(np.mean(inside)),
        }
    return measured


__all__ = ["finding_localization", "finding_question"]
