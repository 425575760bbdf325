"""Plain contrastive learning of pairs: the labels are one-hot, the negatives all other pairs."""

import torch
import torch.nn.functional as F

from .similarity import at_least_float32


def info_nce(similarity: torch.Tensor, temperature: torch.Tensor | float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of -log softmax(s / tau) at the pairs, by rows and by columns; log N where everything is alike.

    Args:
        similarity: Similarities s, (N, N); row i and column i are a pair.
        temperature: Temperature tau, above 0.

    Returns:
        Two scalars, float32, or float64 where the similarities are: rows find their columns, and the reverse.
    """
    logits = at_least_float32(similarity) / temperature
    targets = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, targets), F.cross_entropy(logits.T, targets)
