"""Reconstruction of what was hidden of an image and of its report (MPMA, our reading of its abstract)."""

import math

import torch
import torch.nn.functional as F

from .argument_checks import Given, check_count, check_range
from .similarity import at_least_float32

VARIANCE_FLOOR = 1e-6


def normalised_patches(pixel_values: torch.Tensor, patches: int) -> torch.Tensor:
    """What a decoder is to predict: the pixels of every patch, each patch with mean 0 and variance 1.

        (x - mean) / sqrt(variance + 1e-6), so that a patch of one colour is all 0

    Args:
        pixel_values: (B, channels, height, width), square.
        patches: P, their number; a square grid.

    Returns:
        (B, P, channels x side x side) in reading order, float32, or float64 where the pixels are.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the image does not divide into such a grid, or dtype or shape do not fit.
    """
    Given().floats("B channels height width", pixel_values=pixel_values)
    check_count(patches, "patches")
    grid = math.isqrt(patches)
    height, width = pixel_values.shape[-2:]
    if grid * grid != patches or height != width or height % grid:
        raise ValueError(f"An image of {height} x {width} pixels does not divide into a square of {patches} patches.")
    values = F.unfold(at_least_float32(pixel_values), height // grid, stride=height // grid).transpose(1, 2)
    variance, mean = torch.var_mean(values, dim=-1, correction=0, keepdim=True)
    return (values - mean) / (variance + VARIANCE_FLOOR).sqrt()


def image_reconstruction_loss(
    predictions: torch.Tensor, pixel_values: torch.Tensor, hidden_patches: torch.Tensor
) -> torch.Tensor:
    """Mean squared error of the hidden patches' normalised pixels; predicting 0 everywhere gives about 1.

    Args:
        predictions: (B, P, channels x side x side), in the order of `normalised_patches`.
        pixel_values: (B, channels, height, width).
        hidden_patches: (B, P) bool, True where the encoder did not see the patch.

    Returns:
        A scalar, float32, or float64 where the predictions are; 0 where nothing is hidden.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    given = Given().floats("B P values", predictions=predictions).bools("B P", hidden_patches=hidden_patches)
    given.floats("B channels height width", pixel_values=pixel_values)
    targets = normalised_patches(pixel_values, hidden_patches.shape[1])
    if targets.shape != predictions.shape:
        raise ValueError(f"predictions is {tuple(predictions.shape)}: give {tuple(targets.shape)}, a value a pixel.")
    errors = (at_least_float32(predictions) - targets).square().mean(dim=-1)
    return errors[hidden_patches].sum() / hidden_patches.sum().clamp(min=1)


def report_reconstruction_loss(
    logits: torch.Tensor, input_ids: torch.Tensor, hidden_tokens: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the hidden tokens, mean over all of the batch; log(vocabulary) where all words are alike.

    Args:
        logits: (H, vocabulary), of the H hidden tokens in reading order, row by row.
        input_ids: (B, L) int64, the reports as they were written.
        hidden_tokens: (B, L) bool, H of them True.

    Returns:
        A scalar, float32, or float64 where the logits are; 0 where nothing is hidden.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit, or a token on the CPU is none of the vocabulary's.
    """
    given = Given().floats("H? vocabulary", logits=logits).whole("B L", input_ids=input_ids)
    given.bools("B L", hidden_tokens=hidden_tokens)
    targets = input_ids[hidden_tokens]
    if len(targets) != len(logits):
        raise ValueError(f"logits are of {len(logits)} tokens, and {len(targets)} are hidden: give one row for each.")
    known = (targets >= 0) & (targets < logits.shape[1])
    check_range("input_ids", targets, known, f"tokens from 0 to {logits.shape[1] - 1}")
    losses = F.cross_entropy(at_least_float32(logits), targets, reduction="sum")
    return losses / hidden_tokens.sum().clamp(min=1)
