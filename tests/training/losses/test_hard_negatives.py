import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare

from amif.training.losses import (
    HARD_NEGATIVE,
    POSITIVE,
    SKIPPED,
    matching_labels,
    matching_loss,
    sample_hard_negatives,
    soft_labels,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw_often(weights, exclude=None, draws=4_000):
    """How often each column was drawn for each row (n, m), -1 left out, and how often -1 was."""
    n, m = weights.shape
    one_generator = generator()
    counts, skipped = torch.zeros(n, m), torch.zeros(n)
    for _ in range(draws):
        columns = sample_hard_negatives(weights, exclude, one_generator)
        drawn = columns >= 0
        counts[drawn.nonzero().flatten(), columns[drawn]] += 1
        skipped += ~drawn
    return counts, skipped


def naive_probabilities(weights, exclude):
    """Weight over the row's allowed weights, entry by entry."""
    n, m = weights.shape
    allowed = torch.zeros(n, m, dtype=torch.float64)
    for i in range(n):
        for j in range(m):
            if i != j and not (exclude is not None and exclude[i, j]):
                allowed[i, j] = weights[i, j]
    return allowed / allowed.sum(1, keepdim=True)


@pytest.mark.parametrize("shape", [(5, 5), (3, 6), (6, 3)])
@pytest.mark.parametrize("excluding", [False, True])
def test_frequencies_are_proportional_to_the_soft_labels(shape, excluding):
    """Chi-square test of 4,000 draws a row at a level of 0.1 %; what may not be drawn never is."""
    weights = soft_labels(torch.rand(shape, generator=generator()), temperature=0.3, flexibility_weight=5.0)
    exclude = None
    if excluding:
        exclude = torch.zeros(shape, dtype=torch.bool)
        exclude[0, 2] = exclude[2, 1] = True
    counts, skipped = draw_often(weights, exclude)
    probabilities = naive_probabilities(weights, exclude)
    assert (skipped == 0).all()
    assert (counts[probabilities == 0] == 0).all()
    for row, expected in zip(counts, probabilities, strict=True):
        possible = expected > 0
        if possible.sum() > 1:
            assert chisquare(row[possible], 4_000 * expected[possible]).pvalue > 0.001


def test_tiny_weights_keep_their_proportions():
    """A peaked teacher leaves weights that float32 holds only as denormal numbers, or nearly."""
    weights = torch.tensor([[1.0, 3e-38, 1e-38], [0.5, 0.0, 0.5], [1e-30, 3e-30, 1.0]])
    counts, _ = draw_often(weights)
    assert chisquare(counts[0, 1:], [3_000, 1_000]).pvalue > 0.001
    assert chisquare(counts[2, :2], [1_000, 3_000]).pvalue > 0.001


def test_the_diagonal_is_never_drawn_however_heavy():
    weights = torch.full((4, 4), 1e-6).fill_diagonal_(1e6)
    counts, _ = draw_often(weights, draws=200)
    assert (counts.diagonal() == 0).all()
    assert (counts.sum(1) == 200).all()


@pytest.mark.parametrize("exclude", [None, torch.ones(1, 1, dtype=torch.bool)])
def test_a_batch_of_one_has_nothing_to_sample(exclude):
    assert sample_hard_negatives(torch.ones(1, 1), exclude).tolist() == [-1]


def test_a_batch_of_duplicates_has_nothing_to_sample():
    assert sample_hard_negatives(torch.ones(3, 3), torch.ones(3, 3, dtype=torch.bool)).tolist() == [-1, -1, -1]


def test_only_rows_without_candidates_are_skipped():
    weights = torch.tensor([[0.9, 0.0, 0.1], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
    exclude = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 0, 0]])  # integers serve as masks
    for seed in range(20):
        assert sample_hard_negatives(weights, exclude, generator(seed)).tolist() == [2, -1, 1]


def test_one_column_serves_all_but_its_own_row():
    assert sample_hard_negatives(torch.ones(3, 1)).tolist() == [-1, 0, 0]


def test_equal_generators_draw_alike_and_inputs_are_left_as_they_were():
    weights, exclude = torch.rand(6, 6, generator=generator()), torch.zeros(6, 6, dtype=torch.bool)
    kept = weights.clone()
    drawn = [sample_hard_negatives(weights, exclude, generator(seed)) for seed in (3, 3, 4)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(weights, kept)
    assert not exclude.any()


def test_half_precision_and_gradients_are_no_hindrance():
    weights = torch.rand(4, 4, generator=generator(), requires_grad=True)
    assert (sample_hard_negatives(weights.half()) >= 0).all()
    assert sample_hard_negatives(weights).dtype == torch.int64


@pytest.mark.parametrize("value", [-0.1, torch.nan, torch.inf])
def test_weights_that_are_no_weights_are_refused_where_they_count(value):
    weights = torch.ones(3, 3)
    weights[1, 2] = value
    with pytest.raises(ValueError, match="row 1, column 2"):
        sample_hard_negatives(weights)
    exclude = torch.zeros(3, 3, dtype=torch.bool)
    exclude[1, 2] = True
    assert sample_hard_negatives(weights, exclude)[1] == 0


def test_matching_labels_mark_positives_negatives_and_gaps():
    labels = matching_labels(torch.tensor([2, -1, 0]))
    assert labels.tolist() == [POSITIVE, POSITIVE, POSITIVE, HARD_NEGATIVE, SKIPPED, HARD_NEGATIVE]


def test_matching_loss_equals_a_naive_loop():
    logits = torch.randn(6, 2, generator=generator(), dtype=torch.float64)
    labels = matching_labels(torch.tensor([2, -1, 0]))
    total = sum(-logits[i].log_softmax(0)[labels[i]] for i in range(6) if labels[i] != SKIPPED)
    torch.testing.assert_close(matching_loss(logits, labels), total / 6)


def test_matching_loss_of_processes_averages_to_the_whole_batchs():
    logits, labels = torch.randn(8, 2, generator=generator()), torch.tensor([0, 0, 1, -100, 0, 0, 1, 1])
    shares = [matching_loss(logits[at : at + 4], labels[at : at + 4]) for at in (0, 4)]
    torch.testing.assert_close(sum(shares) / 2, matching_loss(logits, labels))


def test_matching_loss_with_everything_skipped_is_zero_with_a_gradient_of_zero():
    logits = torch.randn(2, 2, requires_grad=True)
    loss = matching_loss(logits, torch.full((2,), SKIPPED))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(2, 2))


def test_matching_loss_without_gaps_is_the_mean_cross_entropy_in_float32():
    logits, labels = torch.randn(4, 2, generator=generator()), torch.tensor([0, 0, 1, 1])
    torch.testing.assert_close(matching_loss(logits, labels), F.cross_entropy(logits, labels))
    assert matching_loss(logits.bfloat16(), labels).dtype == torch.float32
