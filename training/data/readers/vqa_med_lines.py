"""The text files of ImageCLEF's VQA-Med tasks: one row a line, parts separated by vertical bars."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read_lines(file: Path) -> list[dict[str, str]]:
    """The lines of a file that are not empty, each as `{"line": ...}`.

    Raises:
        ValueError: If the file is no text in UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except ValueError as error:
        raise ValueError(f"{file} is no text in UTF-8 ({error}): give the organisers' file.") from None
    return [{"line": line} for line in text.split("\n") if line.strip()]


def line_parts(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The parts of a line of `read_lines` by their names.

    Raises:
        ValueError: If there are more or fewer.
    """
    line = row["line"].strip()
    parts = line.split("|")
    if len(parts) != len(names):
        raise ValueError(f"{line!r} has {len(parts)} parts between |, not {len(names)}: {'|'.join(names)}.")
    return dict(zip(names, parts, strict=True))
