"""Which patches of an image and which words of its report are hidden at the same time (MPMA, our reading).

MPMA's abstract (IEEE Transactions on Multimedia, doi 10.1109/tmm.2023.3325965) says that image and text are masked and
reconstructed jointly. How much is hidden, and that words are hidden whole, follows published relatives, not that paper.
"""

import torch

from .argument_checks import Given, check_count, check_generator, check_number


def hide_patches(
    batch: int,
    patches: int,
    ratio: float,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Draw the patches that an image encoder does not see, equally many in each image.

    Args:
        batch: Number of images.
        patches: P, patches of an image, without a class token.
        ratio: Share to hide; floor(P (1 - ratio)) patches stay visible, one at least.
        generator: Of the draws, on `device`; None for torch's global one.
        device: Of the result.

    Returns:
        (batch, P) bool, True where hidden.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the ratio is not from 0 to below 1, or numbers, dtypes, shapes or devices do not fit.
    """
    check_count(batch, "batch")
    check_count(patches, "patches")
    check_generator(generator, device)
    _check_ratio(ratio)
    # Rounded, because 10 x (1 - 0.9) is a little less than 1 in floating point.
    visible = max(1, int(round(patches * (1 - ratio), 6)))
    order = torch.rand(batch, patches, generator=generator, device=device).argsort(dim=1)
    return order.argsort(dim=1) >= visible


def hide_words(
    words: torch.Tensor, continued: torch.Tensor, ratio: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Draw whole words until the share of their tokens is reached: at most one word too many, and one word at least.

    Args:
        words: (B, L) bool, True where a token belongs to a word; never [CLS], [SEP] or padding.
        continued: (B, L) bool, True where a token continues the word of the token before, as "##" pieces do.
        ratio: Share of the True tokens of `words` to hide; 0 hides nothing.
        generator: Of the draws, on the device of `words`; None for torch's global one.

    Returns:
        (B, L) bool, True where hidden.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the ratio is not from 0 to below 1, or numbers, dtypes, shapes or devices do not fit.
    """
    Given().bools("B L", words=words, continued=continued)
    check_generator(generator, words.device)
    _check_ratio(ratio)
    # Word 0 is what stands before the first word.
    word_of_token = (words & ~continued).cumsum(dim=1)
    sizes = torch.zeros(len(words), words.shape[1] + 1, dtype=torch.long, device=words.device)
    sizes = sizes.scatter_add(1, word_of_token, words.long())
    draws = torch.rand(sizes.shape, generator=generator, device=words.device).masked_fill(sizes == 0, 2.0)
    order = draws.argsort(dim=1)
    drawn_sizes = sizes.gather(1, order)
    hidden_before = drawn_sizes.cumsum(dim=1) - drawn_sizes
    chosen = hidden_before < ratio * words.sum(dim=1, keepdim=True)
    chosen = torch.zeros_like(chosen).scatter(1, order, chosen)
    return chosen.gather(1, word_of_token) & words


def _check_ratio(ratio: float) -> None:
    check_number(ratio, "ratio")
    if not 0 <= ratio < 1:
        raise ValueError(f"A mask ratio of {ratio} is not from 0 to below 1; 0.75 hides three quarters.")
