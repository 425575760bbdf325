"""The global alignment of a batch: every similarity of equations 1-4, for student and teacher alike."""

from collections.abc import Mapping

import torch

from . import cosine_similarities
from .argument_checks import Given

# Which of the model's three temperatures divides which similarities.
TEMPERATURE_OF = {"i2t": 0, "t2i": 0, "i2i": 1, "t2t": 2}

TERMS_OF_INTRA = {"none": ("i2t", "t2i"), "text": ("i2t", "t2i", "t2t"), "full": ("i2t", "t2i", "i2i", "t2t")}


def batch_similarities(images: torch.Tensor, texts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Cosines of everything that is aligned, each a stack of (N, N) matrices, rows against columns.

    Args:
        images: (V, N, d), one or two views of N studies.
        texts: (N, d), their reports.

    Returns:
        "i2t" and "t2i" (V, N, N): every view with every report and back; "i2i" (2, N, N): first views with second ones
        and back, of a single view with itself; "t2t" (1, N, N).

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("views N d", images=images).floats("N d", texts=texts)
    i2t = cosine_similarities(images, texts)
    i2i = cosine_similarities(images[0], images[-1])
    return {
        "i2t": i2t,
        "t2i": i2t.transpose(1, 2),
        "i2i": torch.stack([i2i, i2i.T]),
        "t2t": cosine_similarities(texts, texts).unsqueeze(0),
    }


def global_loss(terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """L_global of the alignment terms (equations 6-8): both directions of image and text are one loss, and t2t another.

    Args:
        terms: Scalars by the names of `TEMPERATURE_OF`; "i2i" and "t2t" may be missing.

    Raises:
        TypeError: If they are no mapping of tensors.
        ValueError: If one of both directions is missing, or one is no scalar.
    """
    if not isinstance(terms, Mapping):
        raise TypeError(f"terms is {type(terms).__name__}: give a mapping of scalars by name.")
    if missing := {"i2t", "t2i"} - terms.keys():
        raise ValueError(f"terms lacks {', '.join(sorted(missing))}: give both directions of image and text.")
    Given().floats("", **terms)
    inter = (terms["i2t"] + terms["t2i"]) / 2
    return inter + sum(terms[name] for name in ("i2i", "t2t") if name in terms)
