"""Contrast of a pair's transport cost with that of a hard negative: ours, beside equation 9."""

import torch
import torch.nn.functional as F

from .argument_checks import Given, check_number
from .similarity import at_least_float32

CONTRASTS = ("none", "margin", "softplus")


def transport_contrast(
    own: torch.Tensor, other: torch.Tensor, contrast: str = "margin", margin: float = 0.5
) -> torch.Tensor:
    """A pair's transport cost, held below that of the same image with a hard negative's report.

    Equation 9 alone is smallest where all tokens are one: its cost is then 0 for every pair. What sinks below the cost
    of another report has to tell the two apart.

        none      own, which is equation 9
        margin    max(0, own - other + margin)
        softplus  log(1 + exp(own - other + margin)), which never ends

    Args:
        own: (n,) costs <T, C> of n pairs, from 0 to 2.
        other: (n,) costs with the hard negative of equation 11.
        contrast: One of the three above.
        margin: How far the own cost should lie below the other.

    Returns:
        (n,) losses, float32, or float64 where the costs are.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `contrast` is another, or dtypes, shapes or devices do not fit.
    """
    Given().floats("n", own=own, other=other)
    check_number(margin, "margin")
    own, other = at_least_float32(own), at_least_float32(other)
    if contrast == "none":
        return own
    if contrast == "margin":
        return F.relu(own - other + margin)
    if contrast == "softplus":
        return F.softplus(own - other + margin)
    raise ValueError(f"contrast {contrast!r} is none of {', '.join(CONTRASTS)}.")
