"""Results as JSON and JSON Lines that a killed run never leaves half written."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .results import Result

if TYPE_CHECKING:
    from .metrics import Metrics


def _replace_file(path: str | Path, text: str) -> None:
    # A run that is killed while writing leaves the earlier file whole.
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def to_json(content: object, indent: int | None = None) -> str:
    """A result, or what holds results, as JSON.

    Raises:
        ValueError: If it holds a number that JSON does not have.
    """
    return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False, default=_json_fields)


def _json_fields(value: object) -> Mapping[str, object]:
    if isinstance(value, Result):
        return value.json_fields()
    raise TypeError(f"{type(value).__name__} has no form in JSON.")


def write_json(path: str | Path, content: object) -> None:
    """Write `to_json` of `content`, indented, replacing the file at once."""
    _replace_file(path, to_json(content, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: Sequence[object]) -> None:
    """Write `to_json` of each row, one a line, replacing the file at once."""
    _replace_file(path, "".join(to_json(row) + "\n" for row in rows))


def checkpoint_sha256(folder: str | Path) -> str:
    """sha256 of the safetensors files of a checkpoint, read one after another in the order of their names.

    Raises:
        FileNotFoundError: If the folder holds no safetensors file.
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


def append_test_evaluation(folder: str | Path, metrics: "Metrics", weights: str | Path | None = None) -> None:
    """Append one line to `test_evaluations.jsonl` in a checkpoint's folder, so that no look at a test split is lost.

    Args:
        folder: Where the log is; the checkpoint's own folder, unless that is the Hub's cache.
        metrics: Of an evaluation of that checkpoint on a test split.
        weights: The folder with its safetensors files; None means `folder`.

    Raises:
        FileNotFoundError: If there are no weights.
    """
    entry = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint_sha256": checkpoint_sha256(folder if weights is None else weights),
        "protocol": metrics.protocol,
        "dataset": metrics.dataset,
        "split": metrics.split,
        "n": metrics.scores.n,
        "ablate_image": None if metrics.run is None else metrics.run.ablate_image,
        "result": metrics.scores.overall,
    }
    with (Path(folder) / "test_evaluations.jsonl").open("a", encoding="utf-8") as file:
        file.write(to_json(entry) + "\n")
