"""Plain contrastive learning of pairs: the labels are one-hot, the negatives all other pairs."""

import torch
import torch.nn.functional as F

from .argument_checks import Given
from .similarity import at_least_float32


def info_nce(similarity: torch.Tensor, temperature: torch.Tensor | float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of -log softmax(s / tau) at the pairs, by rows and by columns; log N where everything is alike.

    Args:
        similarity: Similarities s, (N, N); row i and column i are a pair.
        temperature: Temperature tau, above 0.

    Returns:
        Two scalars, float32, or float64 where the similarities are: rows find their columns, and the reverse.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit, or the temperature is not above 0.
    """
    Given().floats("N N", similarity=similarity).temperature(temperature=temperature)
    logits = at_least_float32(similarity) / temperature
    targets = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, targets), F.cross_entropy(logits.T, targets)
