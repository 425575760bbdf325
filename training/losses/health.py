"""Figures that tell whether a loss falls for the right reason; none of them carries a gradient."""

import torch

from .argument_checks import Given, check_count
from .hard_negatives import SKIPPED, check_pairs
from .similarity import cosine_similarities


@torch.no_grad()
def mean_token_cosine(tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cosine between two different tokens of an example: near 1, the transport loss is low by collapse.

    Equation 9 falls to 0 when all tokens become equal, which aligns nothing.

    Args:
        tokens: (batch, n, d).
        mask: (batch, n), True where the token is valid; None where all are.

    Returns:
        A scalar float32: the mean over examples, without those of fewer than two tokens; NaN where all are such.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("batch n d", tokens=tokens).optional_flags("batch n", mask=mask)
    valid = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if mask is None else mask.bool()
    similarities = cosine_similarities(tokens.masked_fill(~valid.unsqueeze(-1), 0), tokens)
    pairs = (valid.unsqueeze(2) & valid.unsqueeze(1)).float()
    pairs.diagonal(dim1=1, dim2=2).fill_(0)
    counts = pairs.sum(dim=(1, 2))
    means = similarities.masked_fill(pairs == 0, 0).sum(dim=(1, 2)) / counts
    return means[counts > 0].mean()


@torch.no_grad()
def plan_entropy(plan: torch.Tensor) -> torch.Tensor:
    """How spread transport plans are: 1 for the uniform plan, which aligns nothing.

        -sum T log T / log(p t), p and t the numbers of valid rows and columns

    An exact plan of p and t tokens has at most p + t - 1 cells, so it stays below log(p + t - 1) / log(p t).

    Args:
        plan: (batch, p, t), 0 on padding.

    Returns:
        A scalar float32: the mean over examples with at least two valid cells; NaN where there is none.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("batch p t", plan=plan)
    entropies = torch.special.entr(plan.float()).sum(dim=(1, 2))
    cells = (plan.sum(dim=2) > 0).sum(dim=1) * (plan.sum(dim=1) > 0).sum(dim=1)
    return (entropies / cells.log())[cells > 1].mean()


@torch.no_grad()
def retrieval_recall(similarity: torch.Tensor, k: int = 1, relevant: torch.Tensor | None = None) -> torch.Tensor:
    """Share of rows with a relevant column among their `k` most similar ones.

    An irrelevant column as similar as the best relevant one ranks before it: where all are alike nothing is found.

    Args:
        similarity: (n, m).
        k: 1 or more.
        relevant: (n, m), True where a column is a hit; None where only column i is one for row i.

    Returns:
        A scalar float32 from 0 to 1; a row without a relevant column is a miss, and so is one of NaN.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit, or `k` is another.
    """
    given = Given().floats("n m", similarity=similarity)
    check_count(k, "k")
    if relevant is None:
        relevant = torch.eye(*similarity.shape, dtype=torch.bool, device=similarity.device)
    given.bools("n m", relevant=relevant)
    best = similarity.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True)
    ahead = (~(similarity < best) & ~relevant).sum(dim=1)
    return ((ahead < k) & relevant.any(dim=1)).float().mean()


@torch.no_grad()
def matching_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Share of pairs that the matching head tells rightly, skipped ones left out.

    Args:
        logits: (k, 2).
        labels: (k,) as for `matching_loss`.

    Returns:
        A scalar float32; NaN where every pair is skipped. A pair whose logits are NaN is not told rightly.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit, or a label on the CPU is another.
    """
    check_pairs(logits, labels)
    kept = labels != SKIPPED
    # NaN is the largest to argmax, and tells nothing rightly.
    right = (logits.argmax(dim=1) == labels) & ~logits.isnan().any(dim=1)
    return right[kept].float().mean()


@torch.no_grad()
def contrast_accuracy(first: torch.Tensor, second: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Share of tokens whose partner is the nearest of their own pair's: 1 / n is chance.

    Where an image has many patches that are alike, such as plain background, it cannot become 1.

    Args:
        first: (batch, n, d).
        second: (batch, n, d); token i belongs to token i of `first`.
        mask: (batch, n), True where the token is valid; None where all are.

    Returns:
        A scalar float32, the mean over all valid tokens; NaN where there is none.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("batch n d", first=first, second=second).optional_flags("batch n", mask=mask)
    valid = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device) if mask is None else mask.bool()
    similarity = cosine_similarities(first, second).masked_fill(~valid.unsqueeze(1), -torch.inf)
    own = similarity.diagonal(dim1=1, dim2=2).unsqueeze(-1)
    # A tie is no hit, so that tokens which are all alike find nothing.
    ahead = (~(similarity < own)).sum(dim=-1)
    return (ahead == 1)[valid].float().mean()
