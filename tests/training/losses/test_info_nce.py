import math

import torch
from torch.testing import assert_close

from amif.training.losses import info_nce


def test_equals_a_loop_in_both_directions():
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exponentials = (similarity / 0.3).exp().tolist()
    rows = -sum(math.log(exponentials[i][i] / sum(exponentials[i])) for i in range(4)) / 4
    columns = -sum(math.log(exponentials[i][i] / sum(row[i] for row in exponentials)) for i in range(4)) / 4
    assert_close(torch.stack(info_nce(similarity, 0.3)), torch.tensor([rows, columns], dtype=torch.float64))


def test_what_is_all_alike_costs_the_logarithm_of_the_batch():
    assert_close(info_nce(torch.zeros(8, 8), 0.07)[0], torch.tensor(8.0).log())
