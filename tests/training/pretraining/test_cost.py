"""What a run cost: operations against the textbook count of a matrix product, and sums over steps."""

import torch
from transformers import TrainerState

from amif.training.pretraining.cost import StepFlops, training_cost


def test_a_product_forward_and_backward_counts_three_times_and_only_the_first_step():
    layer, step = torch.nn.Linear(5, 7, bias=False), StepFlops()
    with step.counting():
        layer(torch.randn(3, 5, requires_grad=True)).sum().backward()
    assert step.first_step == 3 * 2 * (3 * 5 * 7)
    with step.counting():
        layer(torch.randn(30, 5)).sum().backward()
    assert step.first_step == 3 * 2 * (3 * 5 * 7)


def test_cost_is_of_the_whole_run():
    state = TrainerState(global_step=6, log_history=[{"loss": 1.0}, {"train_runtime": 3.0}])
    cost = {"seconds": 3.0, "cpu_seconds": 2.5, "steps": 6, "studies": 48}
    assert training_cost(state, 2.46, 8, None) == cost
    assert training_cost(state, 2.46, 8, 100) == cost | {"flops": 600.0}
