"""Results as JSON and JSON Lines that a killed run never leaves half written."""

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
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


def checkpoint_sha256(folder: str | Path) -> str:
    """sha256 of the safetensors files of a checkpoint, read one after another in the order of their names.

    Raises:
        FileNotFoundError: where the folder holds no safetensors file.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no safetensors file, so there is no checkpoint to name by its hash.")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def append_test_evaluation(folder: str | Path, metrics: Row, weights: str | Path | None = None) -> None:
    """Append one line to `test_evaluations.jsonl` in a checkpoint's folder, so that no look at a test split is lost.

    Args:
        folder: where the log is; the checkpoint's own folder, unless that is the Hub's cache.
        metrics: `build_metrics` of an evaluation of that checkpoint on a test split.
        weights: the folder with its safetensors files; None means `folder`.

    Raises:
        FileNotFoundError: where there are no weights.
    """
    entry = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint_sha256": checkpoint_sha256(folder if weights is None else weights),
        **{name: metrics[name] for name in ("protocol", "dataset", "split", "n")},
        "ablate_image": metrics.get("ablate_image"),
        "result": metrics["overall"],
    }
    with (Path(folder) / "test_evaluations.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")
