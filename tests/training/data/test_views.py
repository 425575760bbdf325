import random
from collections import Counter

from amif.training.data import choose_views


def draws(number, positions, count=3000):
    draw = random.Random(0)
    return Counter(choose_views(number, positions, draw) for _ in range(count))


def test_a_single_image_is_both_views():
    assert choose_views(1) == (0, 0)
    assert choose_views(1, ["PA"], random.Random(0)) == (0, 0)


def test_different_positions_come_first():
    assert choose_views(3, ["PA", "PA", "LATERAL"]) == (0, 2)
    found = draws(3, ["PA", "PA", "LATERAL"])
    assert set(found) == {(0, 2), (2, 0), (1, 2), (2, 1)}
    assert all(650 < count < 850 for count in found.values())


def test_any_two_where_positions_are_unknown_or_equal():
    assert choose_views(2) == (0, 1)
    assert choose_views(2, [None, "PA"]) == (0, 1)
    assert len(draws(3, ["AP", "AP", "AP"])) == len(draws(3, None)) == 6
    assert set(draws(3, [None, "AP", "LL"])) == {(1, 2), (2, 1)}
