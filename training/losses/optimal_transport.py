"""Local alignment by optimal transport between image and text tokens (equations 9 and 10, section 3.2.2)."""

import torch

from .argument_checks import Given
from .similarity import at_least_float32, cosine_similarities

SOLVERS = ("auto", "emd", "ipot", "sinkhorn")

# IPOT's step and Sinkhorn's regularisation are shares of an example's mean cost, so that neither stalls when tokens are
# so alike that all costs are small.
_IPOT_STEP = 0.5
_IPOT_TOLERANCE = 0.01
_IPOT_CHECK_EVERY, _IPOT_MOST_STEPS = 25, 2_000
_SINKHORN_REGULARISATION = 0.05
_SINKHORN_STEPS = 200


def transport_cost(
    image_tokens: torch.Tensor,
    text_tokens: torch.Tensor,
    image_mask: torch.Tensor | None = None,
    text_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cost of moving each image token to each text token, C = 1 - cosine (equation 10 on normalised tokens).

    Without normalisation 1 - v . r has no lower bound, and growing tokens would lower it for ever.

    Args:
        image_tokens: (..., p, d), without the class token.
        text_tokens: (..., t, d), without [CLS] and [SEP].
        image_mask: (..., p), True where the token is valid; None where all are.
        text_mask: (..., t), likewise.

    Returns:
        (..., p, t), float32, or float64 where the tokens are, from 0 to 2; 1 where either token is padding, whatever it
        holds, and no gradient flows to padding.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    given = Given().floats("... p d", image_tokens=image_tokens).floats("... t d", text_tokens=text_tokens)
    given.optional_flags("... p", image_mask=image_mask).optional_flags("... t", text_mask=text_mask)
    return 1 - cosine_similarities(_without_padding(image_tokens, image_mask), _without_padding(text_tokens, text_mask))


def transport_loss(
    image_tokens: torch.Tensor,
    text_tokens: torch.Tensor,
    image_mask: torch.Tensor | None = None,
    text_mask: torch.Tensor | None = None,
    solver: str = "auto",
) -> torch.Tensor:
    """L_local = mean over examples of min_T <T, C> (equation 9), in float32 also inside autocast.

    The plan is a constant to the gradient: at the minimum the derivative of <T, C> by C is T itself (envelope theorem).

    Args:
        image_tokens, text_tokens, image_mask, text_mask: As for `transport_cost`.
        solver: As for `transport_plan`.

    Returns:
        A scalar. An example without a valid pair of tokens counts as 0.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `solver` is another, dtypes, shapes or devices do not fit, or a valid cost is not finite.
    """
    cost = transport_cost(image_tokens, text_tokens, image_mask, text_mask)
    plan = transport_plan(cost, image_mask, text_mask, solver)
    return (plan * cost).sum(dim=(-2, -1)).mean()


def transport_plan(
    cost: torch.Tensor,
    row_mask: torch.Tensor | None = None,
    column_mask: torch.Tensor | None = None,
    solver: str = "auto",
) -> torch.Tensor:
    """The plan T that minimises <T, C> among plans with uniform marginals over valid rows and columns.

        emd       exact, by POT's network simplex on the CPU; a GPU's costs travel there and back
        ipot      inexact proximal point method, on the cost's device, until certified to be within 1 % of the optimum
        sinkhorn  plan of the entropy-regularised problem, smooth: regularisation 0.05 of the mean cost
        auto      emd on the CPU, ipot elsewhere

    Rows sum to 1 / valid rows and columns to 1 / valid columns: by emd to rounding, by the others after the rounding
    step of Altschuler et al. to some 1e-7 of the total mass.

    Args:
        cost: (p, t) or (batch, p, t), any floating dtype.
        row_mask: (p,) or (batch, p), True where the row is valid; None where all are.
        column_mask: (t,) or (batch, t), likewise.
        solver: One of the four above.

    Returns:
        A plan of the cost's shape and device, float32, or float64 where the cost is; detached. Padding is exactly 0 and
        its cost is never read. An example without a valid row or column has a plan of zeros.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `solver` is another, dtypes, shapes or devices do not fit, or a valid cost is not finite.

    Sources: Bonneel et al., SIGGRAPH Asia 2011 (emd); Xie, Wang, Wang and Zha, UAI 2019, arXiv 1802.04307 (ipot);
    Cuturi, NeurIPS 2013 (sinkhorn).
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver {solver!r} is none of {', '.join(SOLVERS)}.")
    batch = "" if isinstance(cost, torch.Tensor) and cost.dim() == 2 else "batch "
    given = Given().floats(f"{batch}p t", cost=cost)
    given.optional_flags(f"{batch}p", row_mask=row_mask).optional_flags(f"{batch}t", column_mask=column_mask)
    if cost.dim() == 2:
        row_mask, column_mask = (None if mask is None else mask.unsqueeze(0) for mask in (row_mask, column_mask))
        return transport_plan(cost.unsqueeze(0), row_mask, column_mask, solver).squeeze(0)
    if solver == "auto":
        solver = "emd" if cost.device.type == "cpu" else "ipot"
    solve = {"emd": _emd, "ipot": _ipot, "sinkhorn": _sinkhorn}[solver]
    with torch.no_grad(), torch.autocast(cost.device.type, enabled=False):
        rows = _mask_or_ones(row_mask, cost, dim=1).unsqueeze(2)
        columns = _mask_or_ones(column_mask, cost, dim=2).unsqueeze(1)
        pairs = rows & columns
        # An example that lacks valid rows or columns lacks both: nothing can be moved.
        rows, columns = pairs.any(dim=2, keepdim=True), pairs.any(dim=1, keepdim=True)
        cost = at_least_float32(cost).masked_fill(~pairs, 0)
        _check_finite(cost)
        return solve(cost, rows, columns)


def _without_padding(tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return tokens if mask is None else tokens.masked_fill(~mask.bool().unsqueeze(-1), 0)


def _mask_or_ones(mask: torch.Tensor | None, cost: torch.Tensor, dim: int) -> torch.Tensor:
    if mask is None:
        return torch.ones(cost.shape[0], cost.shape[dim], dtype=torch.bool, device=cost.device)
    return mask.bool()


def _check_finite(cost: torch.Tensor) -> None:
    # POT takes such a problem for infeasible and returns a plan of zeros: a loss of 0 that looks like success.
    broken = (~cost.isfinite()).flatten(1).any(dim=1)
    if broken.any():
        raise ValueError(
            f"The transport cost of example {broken.nonzero()[0].item()} of the batch is not finite: its tokens hold "
            "infinities or NaN. Lower the learning rate, clip gradients, or use bfloat16 instead of float16."
        )


def _emd(cost: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Exact plans (batch, p, t), example by example, each on its valid rows and columns in float64."""
    import ot

    plans = torch.zeros(cost.shape, dtype=torch.float64)
    valid_rows, valid_columns = rows.squeeze(2).cpu(), columns.squeeze(1).cpu()
    for plan, problem, p, t in zip(plans, cost.cpu().double(), valid_rows, valid_columns, strict=True):
        if p.any():
            # POT calls some problems of negative costs infeasible; a constant changes no plan.
            valid = problem[p][:, t]
            solution = ot.emd([], [], (valid - valid.min()).numpy(), numItermax=10**6, center_dual=False)
            plan[p.unsqueeze(1) & t] = torch.from_numpy(solution).flatten()
    return plans.to(cost)


def _ipot(cost: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Plans (batch, p, t) by proximal steps of one scaling each, in the log domain, until all are certified.

    After step k the plan is exp(f + g - k C / beta): each step starts from the change of g in the step before, as IPOT
    does by keeping its scaling vector. beta g / k is a feasible dual after its c-transform, whose value bounds the
    optimum from below and so says when to stop.
    """
    step_size = _IPOT_STEP * _mean_cost(cost, rows, columns)
    scaled_cost = cost / step_size
    g = torch.zeros_like(columns, dtype=cost.dtype)
    change = torch.zeros_like(g)
    plan = torch.zeros_like(cost)
    for step in range(1, _IPOT_MOST_STEPS + 1):
        log_kernel = -step * scaled_cost
        f, new_g = _scale(log_kernel, g + change, rows, columns)
        change, g = new_g - g, new_g
        if step % _IPOT_CHECK_EVERY == 0:
            plan = _round_to_marginals((log_kernel + f + g).exp(), rows, columns)
            if _is_near_optimal(plan, cost, step_size * g / step, rows, columns):
                break
    return plan


def _sinkhorn(cost: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Plans (batch, p, t) of the entropy-regularised problem, in the log domain."""
    log_kernel = -cost / (_SINKHORN_REGULARISATION * _mean_cost(cost, rows, columns))
    g = torch.zeros_like(columns, dtype=cost.dtype)
    for _ in range(_SINKHORN_STEPS):
        f, g = _scale(log_kernel, g, rows, columns)
    return _round_to_marginals((log_kernel + f + g).exp(), rows, columns)


def _mean_cost(cost: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """(batch, 1, 1): mean of |C| over the valid cells, never 0."""
    cells = (rows & columns).sum(dim=(1, 2), keepdim=True).clamp(min=1)
    mean = cost.abs().sum(dim=(1, 2), keepdim=True) / cells
    return mean.clamp(min=torch.finfo(cost.dtype).tiny ** 0.5)


def _marginal(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Equal shares of 1 for the valid entries, 0 for the others; `mask` is (batch, p, 1) or (batch, 1, t)."""
    return mask.to(dtype) / mask.sum(dim=(1, 2), keepdim=True).clamp(min=1)


def _scale(
    log_kernel: torch.Tensor, g: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One Sinkhorn step: log scalings f (batch, p, 1) that fit the rows, then g (batch, 1, t) the columns.

    Both are -inf on padding, so that exp(log_kernel + f + g) is exactly 0 there.
    """
    g = g.masked_fill(~columns, -torch.inf)
    f = _marginal(rows, g.dtype).log() - (log_kernel + g).logsumexp(dim=2, keepdim=True)
    f = f.masked_fill(~rows, -torch.inf)
    g = _marginal(columns, g.dtype).log() - (log_kernel + f).logsumexp(dim=1, keepdim=True)
    return f, g.masked_fill(~columns, -torch.inf)


def _round_to_marginals(plan: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The nearby plan whose marginals are right: shrink what is too heavy, then spread what is missing.

    Source: Altschuler, Weed and Rigollet, NeurIPS 2017, arXiv 1705.09634, algorithm 2.
    """
    tiny = torch.finfo(plan.dtype).tiny
    row_share, column_share = _marginal(rows, plan.dtype), _marginal(columns, plan.dtype)
    plan = plan * (row_share / plan.sum(dim=2, keepdim=True).clamp(min=tiny)).clamp(max=1)
    plan = plan * (column_share / plan.sum(dim=1, keepdim=True).clamp(min=tiny)).clamp(max=1)
    missing_rows = (row_share - plan.sum(dim=2, keepdim=True)).clamp(min=0)
    missing_columns = (column_share - plan.sum(dim=1, keepdim=True)).clamp(min=0)
    return plan + missing_rows * missing_columns / missing_rows.sum(dim=1, keepdim=True).clamp(min=tiny)


def _is_near_optimal(
    plan: torch.Tensor, cost: torch.Tensor, dual: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> bool:
    """Whether every plan (batch, p, t) costs at most 1 % more than a lower bound of the optimum.

    Any `dual` v (batch, 1, t) gives the bound sum_i r_i u_i + sum_j c_j v_j with u_i = min_j (C_ij - v_j).
    """
    u = (cost - dual).amin(dim=2, keepdim=True).masked_fill(~rows, 0)
    v = dual.masked_fill(~columns, 0)
    row_share, column_share = _marginal(rows, cost.dtype), _marginal(columns, cost.dtype)
    bound = (row_share * u).sum(dim=(1, 2)) + (column_share * v).sum(dim=(1, 2))
    value = (plan * cost).sum(dim=(1, 2))
    # Where the optimum is 0, float32 cannot come within 1 % of it: 1e-5 of the mean cost is near enough.
    allowed = torch.maximum(_IPOT_TOLERANCE * bound.abs(), 1e-5 * _mean_cost(cost, rows, columns).flatten())
    is_empty = ~rows.flatten(1).any(dim=1)
    return bool(((value - bound <= allowed) | is_empty).all())
