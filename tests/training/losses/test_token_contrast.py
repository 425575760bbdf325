import math

import pytest
import torch
from torch.testing import assert_close

from amif.training.losses import local_alignment, read_across, token_contrast

GROUPS = torch.tensor([[[4 / 3, 1 / 2], [1 / 2, 1], [9 / 8, 5 / 8]]])
TOKENS = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def batch():
    """Image tokens, text tokens and mask of three pairs; the last report has no readable word."""
    mask = torch.tensor([[0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    return draw(3, 4, 6), draw(3, 5, 6, seed=1), mask


def naive_contrast(first, second, temperature):
    """Both directions of one pair's tokens, entry by entry."""
    n = len(first)
    cosine = [[float(torch.cosine_similarity(x, y, dim=0)) / temperature for y in second] for x in first]
    total = 0.0
    for i in range(n):
        total += math.log(sum(math.exp(cosine[i][j]) for j in range(n))) - cosine[i][i]
        total += math.log(sum(math.exp(cosine[j][i]) for j in range(n))) - cosine[i][i]
    return total / (2 * n)


def naive_reading(queries, tokens, temperature):
    read = []
    for query in queries:
        weights = [math.exp(float(torch.cosine_similarity(query, token, dim=0)) / temperature) for token in tokens]
        read.append(sum(w * token for w, token in zip(weights, tokens, strict=True)) / sum(weights))
    return torch.stack(read)


def test_known_values():
    assert_close(token_contrast(GROUPS, TOKENS, 1.0).item(), 0.9458397, atol=1e-6, rtol=0)
    assert_close(token_contrast(GROUPS, TOKENS, 0.07).item(), 0.5200295, atol=1e-6, rtol=0)


def test_equals_a_loop_over_valid_tokens_and_pairs(batch):
    _, text, mask = batch
    other = draw(3, 5, 6, seed=2)
    expected = [naive_contrast(text[i][mask[i]], other[i][mask[i]], 0.1) for i in range(2)]
    assert_close(token_contrast(text, other, 0.1, mask).item(), sum(expected) / 2, atol=1e-9, rtol=0)


def test_one_token_is_0_and_equal_tokens_are_the_logarithm_of_their_number():
    assert token_contrast(GROUPS[:, :1], TOKENS[:, :1], 0.07) == 0
    equal = torch.ones(1, 3, 2)
    assert_close(token_contrast(equal, equal, 0.07).item(), math.log(3), atol=1e-6, rtol=0)


def test_reading_is_a_mean_weighted_by_similarity(batch):
    image, text, mask = batch
    assert_close(read_across(text, image, 0.1)[1], naive_reading(text[1], image[1], 0.1))
    assert_close(read_across(image, text, 0.1, mask)[1], naive_reading(image[1], text[1][mask[1]], 0.1))


def test_local_alignment_equals_loops(batch):
    image, text, mask = batch
    losses = []
    for i in range(2):
        words = text[i][mask[i]]
        losses.append(naive_contrast(words, naive_reading(words, image[i], 0.1), 0.1))
        losses.append(naive_contrast(image[i], naive_reading(image[i], words, 0.1), 0.1))
    assert_close(local_alignment(image, text, mask, 0.1).item(), sum(losses) / 4, atol=1e-9, rtol=0)


def test_another_pair_changes_nothing_in_pair_and_something_in_batch(batch):
    image, text, mask = batch
    image.requires_grad_()
    text.requires_grad_()
    for negatives, reaches in (("in_pair", False), ("batch", True)):
        # The first pair's share of the loss is what its own tokens' gradient shows.
        changed_image, changed_text = (torch.cat([x[:1], draw(*x[1:].shape, seed=9)]) for x in (image, text))
        before = torch.autograd.grad(local_alignment(image, text, mask, 0.1, negatives), (image, text))
        after = torch.autograd.grad(local_alignment(changed_image, changed_text, mask, 0.1, negatives), (image, text))
        for old, new in zip(before, after, strict=True):
            assert torch.equal(old[0], new[0]) != reaches


def test_the_pairs_own_loss_is_exactly_the_same_in_any_company(batch):
    image, text, mask = batch
    alone = local_alignment(image[:1], text[:1], mask[:1], 0.1)
    # The second pair brings no readable word, so the mean is over the first alone.
    assert torch.equal(local_alignment(image[[0, 2]], text[[0, 2]], mask[[0, 2]], 0.1), alone)
    together = local_alignment(image[:2], text[:2], mask[:2], 0.1)
    assert_close(together * 2, alone + local_alignment(image[1:2], text[1:2], mask[1:2], 0.1))


@pytest.mark.parametrize("negatives", ["in_pair", "batch"])
def test_hidden_words_and_padding_change_neither_loss_nor_gradient(batch, negatives):
    image, text, mask = (tensor[:2] for tensor in batch)
    image.requires_grad_()
    loss = local_alignment(image, text, mask, 0.1, negatives)
    noisy = torch.where(mask[..., None], text, 1e6 * draw(2, 5, 6, seed=3))
    noisy = torch.cat([noisy, 1e9 * torch.ones(2, 3, 6)], dim=1).requires_grad_()
    padded = local_alignment(image, noisy, torch.nn.functional.pad(mask, (0, 3)), 0.1, negatives)
    assert_close(padded, loss, atol=1e-12, rtol=0)
    assert_close(torch.autograd.grad(padded, image, retain_graph=True), torch.autograd.grad(loss, image))
    (gradient,) = torch.autograd.grad(padded, noisy)
    assert gradient[:, :5][~mask].abs().max() == 0
    assert gradient[:, 5:].abs().max() == 0


def test_a_batch_without_readable_words_costs_nothing(batch):
    image, text, _ = batch
    text.requires_grad_()
    loss = local_alignment(image, text, torch.zeros(3, 5, dtype=torch.bool), 0.1)
    loss.backward()
    assert loss == 0
    assert not text.grad.any()


def test_unknown_negatives_are_refused(batch):
    with pytest.raises(ValueError, match="in_pair, batch"):
        local_alignment(*batch, 0.1, "all")
