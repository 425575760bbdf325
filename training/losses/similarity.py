"""Cosine similarities in float32, whatever autocast says (equations 1, 3 and 4; 1 minus them is equation 10's cost)."""

import torch
import torch.nn.functional as F

from .argument_checks import Given, check_one_width


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` in float32, or in float64 where it is that already."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def cosine_similarities(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Cosine of every query with every key, s_ij = q_i . k_j / (|q_i| |k_j|).

    Autocast would multiply in half precision, whose rounding of 1 - s is as large as the differences that a soft label
    or a transport plan rests on.

    Args:
        queries: (..., n, d).
        keys: (..., m, d).

    Returns:
        (..., n, m), float32, or float64 where the inputs are. A zero vector has similarity 0 with everything.

    Raises:
        TypeError: If one is no tensor.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("...q n d", queries=queries).floats("...k m d", keys=keys)
    check_one_width(queries=queries, keys=keys)
    batches = zip(reversed(queries.shape[:-2]), reversed(keys.shape[:-2]), strict=False)
    if any(one != other and 1 not in (one, other) for one, other in batches):
        raise ValueError(f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)} are of different batches.")
    with torch.autocast(queries.device.type, enabled=False):
        # The bound of 1e-5 keeps the gradient of a vanishing vector finite.
        queries = F.normalize(at_least_float32(queries), dim=-1, eps=1e-5)
        keys = F.normalize(at_least_float32(keys), dim=-1, eps=1e-5)
        return queries @ keys.transpose(-2, -1)
