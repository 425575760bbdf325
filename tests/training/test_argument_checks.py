"""What numbers and words of arguments may be."""

from dataclasses import dataclass, field

import pytest

from amif.training.argument_checks import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
    check_bounds,
    check_choices,
)


@dataclass
class Arguments:
    value: float | str | None = None
    words: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("bounds", "in_them", "out_of_them"),
    [
        (COUNT, [1, 10**9], [0, -1, 0.5, float("nan"), float("inf")]),
        (NOT_NEGATIVE, [0, 0.0, 3], [-1e-9, float("nan"), float("inf"), -float("inf")]),
        (POSITIVE, [1e-9, 60], [0, -1, float("nan")]),
        (SHARE, [0, 0.5, 1], [-0.1, 1.1, float("nan")]),
        (SEED, [0, 2**32 - 1], [-1, 2**32]),
    ],
)
def test_numbers_are_within_bounds_or_named(bounds, in_them, out_of_them):
    for value in [*in_them, None, "auto"]:
        check_bounds(Arguments(value), {"value": bounds})
    for value in out_of_them:
        with pytest.raises(ValueError, match=f"--value {value}: give .*(at least|more than) "):
            check_bounds(Arguments(value), {"value": bounds})


def test_words_are_those_that_there_are():
    check_choices(Arguments(), {"value": ("one", "two")})
    with pytest.raises(ValueError, match="--value three: it is one of one, two"):
        check_choices(Arguments("three"), {"value": ("one", "two")})
