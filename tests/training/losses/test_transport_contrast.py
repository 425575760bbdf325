import math

import pytest
import torch
from torch.testing import assert_close

from amif.training.losses import transport_contrast

OWN, OTHER = [0.2, 0.9, 1.0], [0.9, 1.0, 0.1]
KNOWN = {
    "none": [0.2, 0.9, 1.0],
    "margin": [0.0, 0.4, 1.4],
    "softplus": [math.log(1 + math.exp(x)) for x in (-0.2, 0.4, 1.4)],
}
# By own; by other it is the negative, and nothing where the own cost is all there is.
SLOPES = {"none": [1, 1, 1], "margin": [0, 1, 1], "softplus": [1 / (1 + math.exp(-x)) for x in (-0.2, 0.4, 1.4)]}


@pytest.mark.parametrize("contrast", KNOWN)
def test_known_values_and_gradients(contrast):
    own, other = (torch.tensor(costs, dtype=torch.float64, requires_grad=True) for costs in (OWN, OTHER))
    losses = transport_contrast(own, other, contrast, margin=0.5)
    assert_close(losses, torch.tensor(KNOWN[contrast], dtype=torch.float64))
    losses.sum().backward()
    slopes = torch.tensor(SLOPES[contrast], dtype=torch.float64)
    assert_close(own.grad, slopes)
    if contrast == "none":
        assert other.grad is None
    else:
        assert_close(other.grad, -slopes)


def test_half_precision_is_computed_in_float32():
    own, other = torch.tensor([0.2]).bfloat16(), torch.tensor([0.9]).bfloat16()
    assert transport_contrast(own, other).dtype == torch.float32


def test_another_contrast_is_refused():
    with pytest.raises(ValueError, match="'hinge' is none of none, margin, softplus"):
        transport_contrast(torch.zeros(1), torch.zeros(1), "hinge")
