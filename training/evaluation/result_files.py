"""Results as JSON and JSON Lines that a killed run never leaves half written."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .prediction_rows import Row


def _replace_file(path: str | Path, text: str) -> None:
    # A run that is killed while writing leaves the earlier file whole.
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, replacing the file at once; ValueError for numbers that JSON cannot hold."""
    _replace_file(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_jsonl(path: str | Path) -> list[Row]:
    """The rows that `write_jsonl` wrote."""
    # Not splitlines, which also breaks at the line separators of Unicode, and JSON leaves these inside its strings.
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


def write_jsonl(path: str | Path, rows: Sequence[Row]) -> None:
    """Write one JSON object a line, replacing the file at once; ValueError for numbers that JSON cannot hold."""
    _replace_file(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))
