"""Which two images of a study are its two views."""

import random
from collections.abc import Sequence
from itertools import permutations


def choose_views(
    number: int, positions: Sequence[str | None] | None = None, draw: random.Random | None = None
) -> tuple[int, int]:
    """The places of a study's two views among its `number` images.

    Two images of different known view positions where there are any, else any two different images, else the only one
    twice, for two augmentations of it.

    Args:
        number: images of the study, at least 1.
        positions: the view position of each, such as "PA" and "LATERAL"; None where unknown.
        draw: chooses among the pairs, each as likely as the others and in either order; without it, the first pair.
    """
    if number == 1:
        return 0, 0
    pairs = list(permutations(range(number), 2))
    known = positions or [None] * number
    different = [(i, j) for i, j in pairs if known[i] and known[j] and known[i] != known[j]]
    candidates = different or pairs
    return draw.choice(candidates) if draw else candidates[0]
