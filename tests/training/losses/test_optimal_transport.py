import math

import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment, linprog
from token_clouds import KINDS, tokens

from amif.training.losses import transport_cost, transport_loss, transport_plan

SOLVERS = ["emd", "ipot", "sinkhorn"]
EXACT_SOLVERS = ["emd", "ipot"]


def costs(kind, batch, n, m, seed=0):
    return transport_cost(*tokens(kind, batch, n, m, seed=seed))


def masks(batch, n, m):
    """Every example has its own number of valid rows and columns, and they are not the first ones."""
    generator = torch.Generator().manual_seed(9)
    rows, columns = torch.rand(batch, n, generator=generator) < 0.7, torch.rand(batch, m, generator=generator) < 0.6
    rows[:, -1] = columns[:, -1] = True
    return rows, columns


def value(plan, cost):
    return (plan * cost).sum(dim=(-2, -1))


def linear_program(cost):
    """The optimum of one problem (p, t) by scipy's linear program."""
    p, t = cost.shape
    rows, columns = np.kron(np.eye(p), np.ones((1, t))), np.kron(np.ones((1, p)), np.eye(t))
    marginals = np.concatenate([np.full(p, 1 / p), np.full(t, 1 / t)])
    return linprog(cost.double().flatten().numpy(), A_eq=np.concatenate([rows, columns]), b_eq=marginals).fun


@pytest.mark.parametrize("solver", EXACT_SOLVERS)
def test_known_plans(solver):
    permutation = transport_plan(1 - torch.eye(3), solver=solver)
    torch.testing.assert_close(permutation, torch.eye(3) / 3, rtol=0, atol=1e-6)

    cost = torch.tensor([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]])
    expected = torch.tensor([[1 / 3, 0, 1 / 6], [0, 1 / 3, 1 / 6]])
    plan = transport_plan(cost, solver=solver)
    torch.testing.assert_close(plan, expected, rtol=0, atol=1e-6)
    assert value(plan, cost).item() == pytest.approx(1 / 6, abs=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("constant", [0.0, 0.3, -2.0])
def test_constant_costs(solver, constant):
    cost = torch.full((2, 4, 6), constant)
    plan = transport_plan(cost, solver=solver)
    torch.testing.assert_close(value(plan, cost), torch.full((2,), constant))
    if solver != "emd":  # of the many optimal plans, the simplex takes a corner and the others the centre
        torch.testing.assert_close(plan, torch.full((2, 4, 6), 1 / 24))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", KINDS)
def test_marginals_and_padding(solver, kind):
    cost, (rows, columns) = costs(kind, 3, 20, 15), masks(3, 20, 15)
    plan = transport_plan(cost, rows, columns, solver)
    assert (plan >= 0).all()
    assert (plan[~(rows.unsqueeze(2) & columns.unsqueeze(1))] == 0).all()
    torch.testing.assert_close(plan.sum(2), rows / rows.sum(1, keepdim=True), rtol=0, atol=1e-6)
    torch.testing.assert_close(plan.sum(1), columns / columns.sum(1, keepdim=True), rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_padding_has_no_influence(solver):
    """Neither its cost, be it NaN, nor its presence: each example's valid part alone gives the same plan."""
    cost, (rows, columns) = costs("unrelated", 3, 12, 9), masks(3, 12, 9)
    broken = cost.masked_fill(~(rows.unsqueeze(2) & columns.unsqueeze(1)), torch.nan)
    plans = transport_plan(broken, rows, columns, solver)
    for plan, problem, valid_rows, valid_columns in zip(plans, cost, rows, columns, strict=True):
        alone = transport_plan(problem[valid_rows][:, valid_columns], solver=solver)
        together = plan[valid_rows][:, valid_columns]
        if solver == "ipot":  # the steps taken are those that the hardest example of the batch needs
            torch.testing.assert_close(
                value(together, problem[valid_rows][:, valid_columns]),
                value(alone, problem[valid_rows][:, valid_columns]),
                rtol=0.01,
                atol=0,
            )
        else:
            torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("solver", SOLVERS)
def test_extra_padding_changes_nothing(solver):
    cost, (rows, columns) = costs("unrelated", 3, 12, 9), masks(3, 12, 9)
    wider = F.pad(cost, (0, 4, 0, 5), value=0.0)
    plan = transport_plan(wider, F.pad(rows, (0, 5)), F.pad(columns, (0, 4)), solver)
    torch.testing.assert_close(plan[:, :12, :9], transport_plan(cost, rows, columns, solver), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("solver", SOLVERS)
def test_permuted_tokens_give_the_permuted_plan(solver):
    cost = costs("unrelated", 2, 8, 10)
    rows, columns = torch.randperm(8), torch.randperm(10)
    plan = transport_plan(cost, solver=solver)
    permuted = transport_plan(cost[:, rows][:, :, columns], solver=solver)
    torch.testing.assert_close(permuted, plan[:, rows][:, :, columns], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("rows", "columns"), [([0, 0, 0], [1, 1]), ([1, 1, 0], [0, 0]), ([0, 0, 0], [0, 0])])
def test_an_example_without_tokens_leaves_the_others_alone(solver, rows, columns):
    cost = costs("unrelated", 2, 3, 2)
    plan = transport_plan(
        cost, torch.tensor([[1, 1, 1], rows]), torch.tensor([[1, 1], columns]), solver
    )  # integers serve as masks, as tokenizers give them
    assert (plan[1] == 0).all()
    torch.testing.assert_close(plan[0], transport_plan(cost[0], solver=solver), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_emd_reaches_the_linear_programs_optimum(kind):
    for cost in costs(kind, 2, 11, 7).double():
        assert value(transport_plan(cost, solver="emd"), cost).item() == pytest.approx(linear_program(cost), rel=1e-9)


def test_equal_lengths_give_the_best_assignment():
    cost = costs("unrelated", 1, 9, 9)[0]
    expected = torch.zeros(9, 9)
    expected[linear_sum_assignment(cost)] = 1 / 9
    torch.testing.assert_close(transport_plan(cost, solver="emd"), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(324, 60), (40, 119), (6, 5)])
def test_ipot_is_within_one_percent_of_the_optimum(kind, shape):
    """With marginals that are off by less than a millionth of the total mass, so the value is not bought by them."""
    cost = costs(kind, 2, *shape)
    plan = transport_plan(cost, solver="ipot")
    optimum = value(transport_plan(cost, solver="emd"), cost)
    assert (value(plan, cost) <= 1.01 * optimum).all()
    assert (plan.sum(2) - 1 / shape[0]).abs().sum(1).max() < 1e-6
    assert (plan.sum(1) - 1 / shape[1]).abs().sum(1).max() < 1e-6


def test_sinkhorn_equals_pots():
    cost = costs("unrelated", 1, 14, 9)[0].double()
    expected = ot.sinkhorn([], [], cost, reg=0.05 * cost.mean().item(), method="sinkhorn_log", numItermax=5_000)
    torch.testing.assert_close(transport_plan(cost, solver="sinkhorn"), expected, rtol=1e-5, atol=1e-9)


def test_auto_is_exact_on_the_cpu():
    cost = costs("unrelated", 2, 6, 5)
    torch.testing.assert_close(transport_plan(cost), transport_plan(cost, solver="emd"), rtol=0, atol=0)


@pytest.mark.parametrize("solver", ["auto", *SOLVERS])
def test_autocast_does_not_lower_the_precision(solver):
    image, text = tokens("clustered", 2, 30, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = transport_loss(image, text, solver=solver)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, transport_loss(image, text, solver=solver), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_plans_are_at_least_float32_and_detached(solver, dtype, expected):
    cost = costs("unrelated", 1, 4, 3).to(dtype).requires_grad_()
    plan = transport_plan(cost, solver=solver)
    assert plan.dtype == expected
    assert not plan.requires_grad


def test_a_cost_that_is_not_finite_is_refused():
    """POT alone would answer with zeros, a perfect loss."""
    cost = costs("unrelated", 3, 4, 3)
    cost[1, 2, 0] = torch.nan
    for solver in SOLVERS:
        with pytest.raises(ValueError, match=r"example 1 .*not finite"):
            transport_plan(cost, solver=solver)


def test_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="'simplex' is none of auto, emd, ipot, sinkhorn"):
        transport_plan(torch.zeros(2, 2), solver="simplex")


def test_cost_is_one_minus_cosine_and_padding_is_neutral():
    image, text = tokens("unrelated", 2, 4, 3)
    rows, columns = masks(2, 4, 3)
    cost = transport_cost(image, text, rows, columns)
    for b in range(2):
        for j in range(4):
            for k in range(3):
                valid = rows[b, j] and columns[b, k]
                expected = 1 - F.cosine_similarity(image[b, j], text[b, k], dim=0) if valid else torch.tensor(1.0)
                torch.testing.assert_close(cost[b, j, k], expected)


def test_loss_is_the_mean_minimum_of_the_linear_program():
    image, text = tokens("clustered", 3, 10, 7)
    expected = np.mean([linear_program(cost) for cost in transport_cost(image, text)])
    assert transport_loss(image, text).item() == pytest.approx(expected, rel=1e-5)


def test_loss_known_values():
    axes = torch.eye(3).unsqueeze(0)
    assert transport_loss(5 * axes, 2 * axes).item() == pytest.approx(0, abs=1e-7)
    same = torch.ones(1, 4, 3)
    assert transport_loss(same, -same).item() == pytest.approx(2)
    assert transport_loss(axes, axes, text_mask=torch.zeros(1, 3, dtype=torch.bool)).item() == 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_gradient_is_that_of_the_cost_at_a_fixed_plan(solver):
    """Against central differences of <T, C> with T held; padding, even NaN, gets a gradient of exactly 0."""
    rows, columns = masks(2, 5, 4)
    image, text = (part.double().requires_grad_() for part in tokens("unrelated", 2, 5, 4, size=3))
    plan = transport_plan(transport_cost(image, text, rows, columns), rows, columns, solver)

    def fixed_plan_loss(image, text):
        return value(plan, transport_cost(image, text, rows, columns)).mean()

    assert torch.autograd.gradcheck(fixed_plan_loss, (image, text))
    expected = torch.autograd.grad(fixed_plan_loss(image, text), (image, text))
    with torch.no_grad():
        image[~rows], text[~columns] = torch.nan, torch.inf
    gradients = torch.autograd.grad(transport_loss(image, text, rows, columns, solver), (image, text))
    torch.testing.assert_close(gradients, expected)
    assert (gradients[0][~rows] == 0).all()
    assert (gradients[1][~columns] == 0).all()


def test_gradient_is_that_of_the_minimum_itself():
    """Envelope theorem: central differences of the whole loss, the plan solved anew each time."""
    image, text = (part.double() for part in tokens("unrelated", 1, 5, 4, size=3))
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(transport_loss(image, text), image)
    for at in [(0, 0, 0), (0, 2, 1), (0, 4, 2)]:
        step = torch.zeros_like(image)
        step[at] = 1e-6
        with torch.no_grad():
            difference = transport_loss(image + step, text) - transport_loss(image - step, text)
        assert difference.item() / 2e-6 == pytest.approx(gradient[at].item(), rel=1e-5, abs=1e-8)


def test_descent_moves_text_tokens_to_image_tokens():
    image, text = tokens("unrelated", 1, 6, 3, size=8)
    text.requires_grad_()
    optimizer = torch.optim.Adam([text], lr=0.05)
    first = transport_loss(image, text).item()
    for _ in range(100):
        optimizer.zero_grad()
        loss = transport_loss(image, text)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first
    assert math.isfinite(loss.item())
