"""Hard negatives drawn from the soft labels, and the matching loss on them (equations 11-13, section 3.3)."""

import torch
import torch.nn.functional as F

from .argument_checks import Given, check_generator, check_range
from .similarity import at_least_float32

POSITIVE, HARD_NEGATIVE, SKIPPED = 0, 1, -100


def sample_hard_negatives(
    weights: torch.Tensor, exclude: torch.Tensor | None = None, generator: torch.Generator | None = None
) -> torch.Tensor:
    """One hard negative for each row: column j is drawn with probability w_ij / sum_k w_ik, never j = i.

    Args:
        weights: (n, m), a soft label H, or anything finite and not negative where it may be drawn. Rows need not sum to
            1.
        exclude: (n, m), True where a column may not be drawn, as of the same study or report; None where only the
            diagonal may not.
        generator: Of the draws, on the weights' device; None for torch's global one.

    Returns:
        (n,) int64 columns; -1 where a row has nothing to sample, as in a batch of one or of duplicates.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a weight that may be drawn is negative or not finite, or dtypes, shapes or devices do not fit.
    """
    Given().floats("n m", weights=weights).optional_flags("n m", exclude=exclude)
    check_generator(generator, weights.device)
    forbidden = torch.zeros_like(weights, dtype=torch.bool) if exclude is None else exclude.bool().clone()
    forbidden.diagonal().fill_(True)
    allowed = at_least_float32(weights.detach()).masked_fill(forbidden, 0)
    if (wrong := ~allowed.isfinite() | (allowed < 0)).any():
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"Weight {allowed[row, column].item()} of row {row}, column {column} is negative or not finite. Sample "
            "from soft labels, or from a softmax of similarities, not from the similarities themselves."
        )
    most = allowed.amax(dim=1, keepdim=True)
    empty = most == 0
    # The largest weight of a row becomes 1, so that rows of tiny weights keep their proportions; a row without any is
    # given some, because multinomial refuses the whole matrix for it, and its draw is thrown away.
    columns = torch.multinomial((allowed / most).masked_fill(empty, 1), 1, generator=generator)
    return columns.masked_fill(empty, -1).squeeze(1)


def matching_labels(negatives: torch.Tensor) -> torch.Tensor:
    """Labels of n positive pairs followed by n hard-negative pairs.

    Args:
        negatives: (n,) of `sample_hard_negatives`.

    Returns:
        (2 n,) int64: `POSITIVE` n times, then `HARD_NEGATIVE`, or `SKIPPED` where a row has no negative.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().whole("n", negatives=negatives)
    hard = torch.full_like(negatives, HARD_NEGATIVE).masked_fill(negatives < 0, SKIPPED)
    return torch.cat([torch.full_like(negatives, POSITIVE), hard])


def check_pairs(logits: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse what are not (k, 2) logits of pairs and their (k,) labels.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit, or a label on the CPU is another.
    """
    Given().floats("k 2", logits=logits).whole("k", labels=labels)
    known = (labels == POSITIVE) | (labels == HARD_NEGATIVE) | (labels == SKIPPED)
    check_range("labels", labels, known, f"{POSITIVE}, {HARD_NEGATIVE} or {SKIPPED}")


def matching_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of positive pairs against hard negatives of one kind (equation 13).

    The paper sums over negatives alone, which a constant answer would satisfy, so positives stand beside them. The sum
    is divided by the number of pairs, skipped ones included: shares of a batch on several processes then average to the
    whole batch's loss, whatever each of them skips.

    Args:
        logits: (k, 2), of the matching head (equation 12).
        labels: (k,) `POSITIVE` (0), `HARD_NEGATIVE` (1) or `SKIPPED` (-100), as from `matching_labels`.

    Returns:
        A scalar, float32, or float64 where the logits are; 0 where every pair is skipped.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit, or a label on the CPU is another.
    """
    check_pairs(logits, labels)
    return F.cross_entropy(at_least_float32(logits), labels, ignore_index=SKIPPED, reduction="sum") / len(labels)
