"""Soft labels from a teacher and the alignment with them (equations 2-8 of arXiv 2510.08791, section 3.2.1)."""

import torch
import torch.nn.functional as F

from .argument_checks import Given, check_number
from .similarity import at_least_float32

FORMS = ("paper_renormalised", "paper_raw", "in_softmax")


def one_hot_labels(similarity: torch.Tensor) -> torch.Tensor:
    """The labels of plain contrastive learning: 1 where column = row, else 0; of the shape, dtype and device given.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("n m", similarity=similarity)
    return torch.eye(*similarity.shape, dtype=similarity.dtype, device=similarity.device)


def soft_labels(
    similarity: torch.Tensor,
    temperature: float = 0.07,
    flexibility_weight: float = 0.01,
    form: str = "paper_renormalised",
) -> torch.Tensor:
    """Soft label H of every row from the teacher's cosine similarities (equation 5).

        paper_raw:           H = Q + lambda 1{i = j}, Q = softmax(s / tau): the paper's letters; rows sum to 1 + lambda
        paper_renormalised:  the same, divided by its row sum, so that KL(H || P) is 0 at P = H
        in_softmax:          H = softmax(s / tau + lambda 1{i = j}): the authors' released code

    Args:
        similarity: (n, m), cosines of row i with column j; a row whose positive is outside of the columns, as the last
            ones of a taller than wide matrix, gets no lambda.
        temperature: Temperature tau, above 0. A teacher's own logit scale s is temperature 1 / s.
        flexibility_weight: Lambda, 0 or more.
        form: One of the three above.

    Returns:
        (n, m), float32, or float64 where the similarities are.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `form` is another, the temperature is not above 0, the weight is negative, or dtype or shape do
            not fit.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r} is none of {', '.join(FORMS)}.")
    Given().floats("n m", similarity=similarity).temperature(temperature=temperature)
    check_number(flexibility_weight, "flexibility_weight", least=0)
    scaled = at_least_float32(similarity) / temperature
    positives = flexibility_weight * one_hot_labels(scaled)
    if form == "in_softmax":
        return (scaled + positives).softmax(dim=-1)
    labels = scaled.softmax(dim=-1) + positives
    return labels if form == "paper_raw" else labels / labels.sum(dim=-1, keepdim=True)


def soft_label_alignment(log_probabilities: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over rows of KL(targets || exp(log_probabilities)), one direction of equations 6 and 7.

        (1 / n) sum_i sum_j H_ij (log H_ij - log P_ij), with 0 log 0 = 0

    Rows of a `paper_raw` target sum to 1 + lambda; then the minimum, at P = H / (1 + lambda), is not 0 but
    (1 + lambda) log(1 + lambda), 0.01005 at lambda = 0.01. With one-hot targets this is the InfoNCE loss.

    Args:
        log_probabilities: Log P of equations 2-4, (n, m): log_softmax of the student's similarities over temperature.
        targets: H, (n, m).

    Returns:
        A scalar, float32, or float64 where the inputs are.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("n m", log_probabilities=log_probabilities, targets=targets)
    log_probabilities, targets = at_least_float32(log_probabilities), at_least_float32(targets)
    return F.kl_div(log_probabilities, targets, reduction="batchmean")
