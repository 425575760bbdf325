import math

import pytest
import torch
import torch.nn.functional as F

from amif.training.losses import one_hot_labels, soft_label_alignment, soft_labels

COSINES = torch.tensor([[0.40, 0.35, 0.20]])  # the positive comes first
Q = [0.6464, 0.3165, 0.0371]


def naive_labels(similarity, temperature, weight, form):
    """Equation 5, entry by entry."""
    n, m = similarity.shape
    labels = torch.zeros(n, m, dtype=torch.float64)
    for i in range(n):
        inside = weight if form == "in_softmax" else 0.0
        exponentials = [math.exp(similarity[i, j] / temperature + inside * (i == j)) for j in range(m)]
        for j in range(m):
            labels[i, j] = exponentials[j] / sum(exponentials)
            if form != "in_softmax":
                labels[i, j] += weight * (i == j)
        if form == "paper_renormalised":
            labels[i] /= sum(labels[i])
    return labels


def naive_alignment(log_probabilities, targets):
    """KL(H || P) of each row, entry by entry, then their mean."""
    total = 0.0
    for row, target in zip(log_probabilities.tolist(), targets.tolist(), strict=True):
        total += sum(h * (math.log(h) - log_p) for h, log_p in zip(target, row, strict=True) if h > 0)
    return total / len(targets)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("paper_raw", [0.6564, 0.3165, 0.0371]),
        ("paper_renormalised", [0.6499, 0.3133, 0.0368]),
        ("in_softmax", [0.6487, 0.3144, 0.0369]),
    ],
)
def test_worked_example(form, expected):
    torch.testing.assert_close(soft_labels(COSINES, form=form), torch.tensor([expected]), rtol=0, atol=6e-5)


def test_worked_example_with_biomedclips_own_scale():
    labels = soft_labels(COSINES, temperature=1 / 85.2, form="in_softmax")
    torch.testing.assert_close(labels, torch.tensor([[0.98621, 0.01379, 0.0]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["paper_renormalised", "paper_raw", "in_softmax"])
@pytest.mark.parametrize("shape", [(5, 5), (3, 6), (6, 3)])
def test_equals_a_naive_loop_with_the_positive_at_row_equals_column(form, shape):
    similarity = 2 * torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    expected = naive_labels(similarity, 0.2, 0.3, form)
    torch.testing.assert_close(soft_labels(similarity, 0.2, 0.3, form), expected)


def test_only_the_papers_letters_do_not_sum_to_one():
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    sums = {form: soft_labels(similarity, form=form).sum(1) for form in ("paper_raw", "paper_renormalised")}
    torch.testing.assert_close(sums["paper_raw"], torch.full((4,), 1.01))
    torch.testing.assert_close(sums["paper_renormalised"], torch.ones(4))


@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_half_precision_is_raised(dtype, expected):
    assert soft_labels(COSINES.to(dtype)).dtype == expected
    assert soft_label_alignment(COSINES.to(dtype), COSINES.to(dtype)).dtype == expected


def test_wrong_form_and_temperature_are_refused():
    with pytest.raises(ValueError, match=r"'paper'.*paper_renormalised"):
        soft_labels(COSINES, form="paper")
    with pytest.raises(ValueError, match="temperature 0"):
        soft_labels(COSINES, temperature=0)


def test_one_hot_labels():
    similarity = torch.randn(2, 4)
    assert one_hot_labels(similarity).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert one_hot_labels(similarity.T.double()).tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("form", ["paper_renormalised", "paper_raw", "in_softmax"])
def test_alignment_equals_a_naive_loop(form):
    generator = torch.Generator().manual_seed(1)
    log_probabilities = torch.randn(5, 7, generator=generator, dtype=torch.float64).log_softmax(1)
    targets = soft_labels(torch.rand(5, 7, generator=generator, dtype=torch.float64), form=form)
    value = soft_label_alignment(log_probabilities, targets)
    assert value.item() == pytest.approx(naive_alignment(log_probabilities, targets), rel=1e-12)


def test_alignment_of_the_papers_letters_at_the_teachers_distribution():
    log_q = torch.tensor([[0.40, 0.35, 0.20]]).div(0.07).log_softmax(1)
    torch.testing.assert_close(log_q.exp(), torch.tensor([Q]), rtol=0, atol=6e-5)
    raw, renormalised = (soft_labels(COSINES, form=form) for form in ("paper_raw", "paper_renormalised"))
    assert soft_label_alignment(log_q, raw).item() == pytest.approx(0.01008, abs=5e-6)
    assert soft_label_alignment(log_q, renormalised).item() == pytest.approx(2.7e-5, abs=5e-7)


def test_the_minimum_is_zero_only_for_distributions():
    raw, renormalised = (soft_labels(COSINES.double(), form=form) for form in ("paper_raw", "paper_renormalised"))
    assert soft_label_alignment(renormalised.log(), renormalised).item() == pytest.approx(0, abs=1e-15)
    assert soft_label_alignment(renormalised.log(), raw).item() == pytest.approx(1.01 * math.log(1.01), abs=1e-12)


def test_one_hot_targets_give_the_contrastive_loss():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(2))
    value = soft_label_alignment(logits.log_softmax(1), one_hot_labels(logits))
    torch.testing.assert_close(value, F.cross_entropy(logits, torch.arange(4)))


def test_gradient_pulls_the_students_softmax_to_the_target():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    targets = soft_labels(torch.rand(4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64))
    soft_label_alignment(logits.log_softmax(1), targets).backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - targets) / 4)
