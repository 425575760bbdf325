"""Contrast among the tokens of one image-report pair, and the local alignment of MPMA (our reading of its abstract)."""

import torch

from .argument_checks import Given
from .similarity import at_least_float32, cosine_similarities

NEGATIVES = ("in_pair", "batch")


def token_contrast(
    first: torch.Tensor,
    second: torch.Tensor,
    temperature: torch.Tensor | float,
    mask: torch.Tensor | None = None,
    negatives: str = "in_pair",
) -> torch.Tensor:
    """InfoNCE in both directions whose negatives are the other tokens of the same pair alone.

        nce = mean_i 1/2 [-log softmax_j(cos(x_i, y_j) / tau)_i - log softmax_j(cos(y_i, x_j) / tau)_i]

    The mean is over each pair's valid tokens first and then over pairs, so that long reports do not weigh more.

    Args:
        first: Tokens x, (B, n, e).
        second: Tokens y, (B, n, e); token i belongs to token i of `first`.
        temperature: Temperature tau, above 0.
        mask: (B, n), True where the token is valid; None where all are.
        negatives: "in_pair": tokens of the same pair; "batch": of all pairs, and the mean is over all of them.

    Returns:
        A scalar, float32, or float64 where the inputs are. Pairs without a valid token are left out; 0 where all are.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `negatives` is another, or dtypes, shapes, devices or the temperature do not fit.
    """
    if negatives not in NEGATIVES:
        raise ValueError(f"negatives {negatives!r} is none of {', '.join(NEGATIVES)}.")
    given = Given().floats("B n e", first=first, second=second).optional_flags("B n", mask=mask)
    given.temperature(temperature=temperature)
    valid = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device) if mask is None else mask.bool()
    if negatives == "batch":
        first, second, valid = (tensor.flatten(0, 1).unsqueeze(0) for tensor in (first, second, valid))
    logits = cosine_similarities(first, second) / temperature
    of_first, of_second = (
        -_masked(matrix, valid).log_softmax(dim=-1).diagonal(dim1=1, dim2=2)
        for matrix in (logits, logits.transpose(1, 2))
    )
    counts = valid.sum(dim=1)
    of_pairs = ((of_first + of_second) / 2).masked_fill(~valid, 0).sum(dim=1) / counts.clamp(min=1)
    return of_pairs.sum() / (counts > 0).sum().clamp(min=1)


def read_across(
    queries: torch.Tensor, tokens: torch.Tensor, temperature: torch.Tensor | float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """For each query the mean of the other modality's tokens, weighted by the softmax of their cosines over tau.

    Args:
        queries: (B, n, e).
        tokens: (B, m, e).
        temperature: Temperature tau, above 0.
        mask: (B, m), True where a token may be read; None where all may.

    Returns:
        (B, n, e), float32, or float64 where the inputs are. Where no token may be read it means nothing.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes, devices or the temperature do not fit.
    """
    given = Given().floats("B n e", queries=queries).floats("B m e", tokens=tokens).optional_flags("B m", mask=mask)
    given.temperature(temperature=temperature)
    logits = cosine_similarities(queries, tokens) / temperature
    if mask is not None:
        logits = _masked(logits, mask.bool())
    with torch.autocast(queries.device.type, enabled=False):
        return logits.softmax(dim=-1) @ at_least_float32(tokens)


def local_alignment(
    image_tokens: torch.Tensor,
    text_tokens: torch.Tensor,
    text_mask: torch.Tensor,
    temperature: torch.Tensor | float,
    negatives: str = "in_pair",
) -> torch.Tensor:
    """Each word is to know what it reads of the image, and each patch what it reads of the report; mean of both.

    Args:
        image_tokens: (B, p, e) visible patches.
        text_tokens: (B, t, e).
        text_mask: (B, t), True for words that the encoder read: not hidden, special or padding.
        temperature: Of reading and of contrast, above 0.
        negatives: As for `token_contrast`.

    Returns:
        A scalar, float32, or float64 where the inputs are. Pairs without a readable word are left out.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `negatives` is another, or dtypes, shapes, devices or the temperature do not fit.
    """
    given = Given().floats("B p e", image_tokens=image_tokens).floats("B t e", text_tokens=text_tokens)
    given.flags("B t", text_mask=text_mask).temperature(temperature=temperature)
    text_mask = text_mask.bool()
    image_mask = text_mask.any(dim=1, keepdim=True).expand(image_tokens.shape[:2])
    words = read_across(text_tokens, image_tokens, temperature)
    patches = read_across(image_tokens, text_tokens, temperature, text_mask)
    of_words = token_contrast(text_tokens, words, temperature, text_mask, negatives)
    return (of_words + token_contrast(image_tokens, patches, temperature, image_mask, negatives)) / 2


def _masked(logits: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Logits (B, n, m) without the columns that are not `valid` (B, m); finite, so that no gradient becomes NaN."""
    return logits.masked_fill(~valid.unsqueeze(1), torch.finfo(logits.dtype).min)
