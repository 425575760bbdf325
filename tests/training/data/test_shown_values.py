import pytest

from amif.training.data.shown_values import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("left", "'left'"),
        (None, "None"),
        (b"\x89PNG" * 500, "<2000 bytes>"),
        ({"bytes": b"\x89PNG", "path": None}, "{'bytes': <4 bytes>, 'path': None}"),
        ([b"a", [b"bc"]], "[<1 bytes>, [<2 bytes>]]"),
    ],
)
def test_short_values_and_bytes(value, text):
    assert shown(value) == text


@pytest.mark.parametrize("value", ["x" * 10_000, list(range(1_000)), {str(n): "x" * 50 for n in range(9)}, 10**4000])
def test_long_values_are_cut(value):
    assert len(shown(value)) <= 80
