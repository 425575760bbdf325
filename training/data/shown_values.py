"""Values of people's files as messages show them: short, and bytes as their number."""

import reprlib

MAX_SHOWN = 80


class _Shortener(reprlib.Repr):
    """`reprlib.repr` with room for a sentence, and without the content of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = MAX_SHOWN - 2
        self.maxlevel = 3

    def repr_bytes(self, value: bytes, level: int) -> str:
        return f"<{len(value)} bytes>"

    repr_bytearray = repr_memoryview = repr_bytes


_shortener = _Shortener()


def shown(value: object) -> str:
    """`repr(value)` in at most 80 characters, the middle or the end of what is longer left out."""
    text = _shortener.repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
