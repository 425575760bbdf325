import math

import pytest
import torch
from torch.testing import assert_close

from amif.training.losses import image_reconstruction_loss, normalised_patches, report_reconstruction_loss


@pytest.fixture
def images():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 4 + 7


HIDDEN = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]], dtype=torch.bool)


def test_targets_are_each_patchs_own_pixels_normalised(images):
    targets = normalised_patches(images, 4)
    assert targets.shape == (2, 4, 48)
    for place, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        patch = images[1, :, row : row + 4, column : column + 4].flatten()
        expected = (patch - patch.mean()) / math.sqrt(((patch - patch.mean()) ** 2).mean() + 1e-6)
        assert_close(targets[1, place], expected)


def test_a_perfect_prediction_gives_0_and_a_zero_prediction_1(images):
    targets = normalised_patches(images, 4)
    assert image_reconstruction_loss(targets, images, HIDDEN) == 0
    assert_close(image_reconstruction_loss(torch.zeros_like(targets), images, HIDDEN).item(), 1.0, atol=1e-5, rtol=0)


def test_equals_a_loop_over_hidden_patches_and_visible_ones_have_no_weight(images):
    predictions = torch.randn(2, 4, 48, requires_grad=True)
    targets = normalised_patches(images, 4)
    loss = image_reconstruction_loss(predictions, images, HIDDEN)
    errors = [
        ((predictions[i, p] - targets[i, p]) ** 2).mean().item() for i in range(2) for p in range(4) if HIDDEN[i, p]
    ]
    assert_close(loss.item(), sum(errors) / 5, atol=1e-6, rtol=1e-6)
    perturbed = torch.where(HIDDEN[..., None], predictions, predictions + 100)
    assert torch.equal(image_reconstruction_loss(perturbed, images, HIDDEN), loss)
    loss.backward()
    assert (predictions.grad.abs().sum(dim=-1) > 0).equal(HIDDEN)


def test_a_patch_of_one_colour_is_all_zero():
    assert torch.equal(normalised_patches(torch.full((1, 3, 8, 8), 5.0), 4), torch.zeros(1, 4, 48))


def test_an_image_must_divide_into_the_patches(images):
    for patches in (5, 9):
        with pytest.raises(ValueError, match=f"8 x 8 pixels .* {patches} patches"):
            normalised_patches(images, patches)


def test_report_loss_is_the_mean_over_all_hidden_tokens_of_the_batch():
    logits = torch.randn(3, 11)
    ids = torch.tensor([[1, 4, 5, 2], [1, 9, 2, 0]])
    hidden = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]], dtype=torch.bool)
    expected = [-math.log(row.softmax(dim=0)[token]) for row, token in zip(logits, (4, 5, 9), strict=True)]
    assert_close(report_reconstruction_loss(logits, ids, hidden).item(), sum(expected) / 3, atol=1e-6, rtol=1e-6)
    # The ids of words that were read, of specials and of padding have no part in it.
    others = torch.where(hidden, ids, 7)
    assert torch.equal(
        report_reconstruction_loss(logits, others, hidden), report_reconstruction_loss(logits, ids, hidden)
    )


def test_words_that_are_all_alike_cost_the_logarithm_of_the_vocabulary():
    hidden = torch.tensor([[False, True]])
    loss = report_reconstruction_loss(torch.zeros(1, 28_996), torch.tensor([[1, 2]]), hidden)
    assert_close(loss.item(), 10.275, atol=1e-3, rtol=0)


def test_where_nothing_is_hidden_losses_and_gradients_are_0(images):
    predictions, logits = torch.randn(2, 4, 48, requires_grad=True), torch.randn(0, 11, requires_grad=True)
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    loss = image_reconstruction_loss(predictions, images, nothing)
    loss = loss + report_reconstruction_loss(logits, torch.ones(2, 4, dtype=torch.long), nothing)
    loss.backward()
    assert loss == 0
    assert not predictions.grad.any()
