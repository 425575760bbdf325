"""What the values of arguments may be: checked where they are read, before anything is computed with them."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple


class Bounds(NamedTuple):
    """The least and the greatest number that an argument may be; infinite numbers and NaN are never."""

    least: float
    greatest: float = math.inf
    least_is_in: bool = True

    def __str__(self) -> str:
        """The rule in words, such as "at least 1"."""
        low = f"{'at least' if self.least_is_in else 'more than'} {self.least}"
        return low if self.greatest == math.inf else f"{low} and at most {self.greatest}"

    def admit(self, value: float) -> bool:
        """Whether a number keeps the rule."""
        in_order = self.least <= value <= self.greatest and math.isfinite(value)
        return in_order and (self.least_is_in or value > self.least)


COUNT = Bounds(1)
NOT_NEGATIVE = Bounds(0)
POSITIVE = Bounds(0, least_is_in=False)
SHARE = Bounds(0, 1)
SEED = Bounds(0, 2**32 - 1)


def check_bounds(arguments: object, bounds: Mapping[str, Bounds]) -> None:
    """Make sure that numbers are what they may be.

    Args:
        arguments: Their attributes are the values; None, and text such as "auto", is none and passes.
        bounds: By name.

    Raises:
        ValueError: If one is out of its bounds.
    """
    for name, allowed in bounds.items():
        value = getattr(arguments, name)
        if isinstance(value, int | float) and not allowed.admit(value):
            finite = "" if math.isfinite(value) else "a finite number, "
            raise ValueError(f"--{name} {value}: give {finite}{allowed}.")


def check_choices(arguments: object, choices: Mapping[str, Collection[str]]) -> None:
    """Make sure that words are among those that there are.

    Args:
        arguments: Their attributes are the values; None is none and passes.
        choices: By name.

    Raises:
        ValueError: If one is another word.
    """
    for name, allowed in choices.items():
        value = getattr(arguments, name)
        if value is not None and value not in allowed:
            raise ValueError(f"--{name} {value}: it is one of {', '.join(allowed)}.")


def check_seeds(seeds: Sequence[int]) -> None:
    """Make sure that there are seeds, each once.

    Raises:
        ValueError: If there is none, or one is negative, too large or given twice.
    """
    if not seeds or len(set(seeds)) < len(seeds) or not all(map(SEED.admit, seeds)):
        raise ValueError(f"--seeds {' '.join(map(str, seeds))}: give each seed once, {SEED}.")
