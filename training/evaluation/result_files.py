"""Results as JSON and JSON Lines that a killed run never leaves half written."""

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from .results import Result

if TYPE_CHECKING:
    from .metrics import Metrics
    from .prediction_rows import Prediction

# Begins the name of all that an unfinished evaluation keeps.
PARTIAL_NAME = "predictions.partial-"


def check_output_folder(folder: str | Path) -> None:
    """Make an output folder and prove that files can be written there, before hours are spent on them.

    Raises:
        OSError: If nothing can be written there, naming the system's reason and the cure.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as probe:
            probe.write(b"amif")
    except OSError as error:
        raise OSError(
            f"Nothing can be written to the output folder {folder}: {error.strerror}. Choose another --output_dir, or "
            "see to its permissions and free space."
        ) from error


def replace_file(path: str | Path, content: str | bytes) -> None:
    """Write a file, text in UTF-8, beside the one that it then replaces: what goes wrong leaves the earlier one whole.

    Raises:
        OSError: If it cannot be written, naming the system's reason, the cure, and what is kept.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp")
    with _explain_failed_writing(path):
        try:
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())  # before it is renamed, or a power cut may leave an empty file of that name
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()


def append_lines(path: str | Path, text: str) -> None:
    """Append whole lines to a file, or nothing; a line that an earlier process left cut off stays one of its own.

    Raises:
        OSError: As `replace_file`.
    """
    path = Path(path)
    with _explain_failed_writing(path), path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
        content = (b"" if not size or file.read(1) == b"\n" else b"\n") + text.encode()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(size)
            raise


@contextmanager
def _explain_failed_writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kept = "what the file held before is kept" if path.exists() else "other files are kept"
        cure = "start again, or choose another --output_dir"
        if next(path.parent.glob(f"{PARTIAL_NAME}*"), None) is not None:
            kept += f", and so are the answers, in {PARTIAL_NAME}* beside it"
            cure = "start the same command again, which goes on from them"
        raise OSError(
            f"{path} could not be written: {error.strerror or error}; {kept}. See to free space and permissions there, "
            f"and {cure}."
        ) from error


def to_json(content: object, indent: int | None = None) -> str:
    """A result, or what holds results, as JSON.

    Raises:
        ValueError: If it holds a number that JSON does not have, which it names.
    """
    try:
        return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False, default=_json_fields)
    except ValueError as error:
        raise ValueError(
            f"{_place_of_no_number(content)} is not finite, which JSON cannot hold and no result may be: look for NaN "
            "or infinity in the scores or in the model's weights."
        ) from error


def _place_of_no_number(content: object, place: str = "") -> str | None:
    """Where in a result NaN or infinity is, such as "confidence.brier_score"."""
    if isinstance(content, Result):
        content = content.json_fields()
    if isinstance(content, float) and not math.isfinite(content):
        return place or "The result"
    within = content.items() if isinstance(content, Mapping) else ()
    if isinstance(content, list | tuple):
        within = enumerate(content)
    found = (_place_of_no_number(value, f"{place}.{name}".lstrip(".")) for name, value in within)
    return next((one for one in found if one), None)


def _json_fields(value: object) -> Mapping[str, object]:
    if isinstance(value, Result):
        return value.json_fields()
    raise TypeError(f"{type(value).__name__} has no form in JSON.")


def write_json(path: str | Path, content: object) -> None:
    """Write `to_json` of `content`, indented; errors are those of `to_json` and `replace_file`."""
    replace_file(path, to_json(content, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: Sequence[object]) -> None:
    """Write `to_json` of each row, one a line; errors are those of `to_json` and `replace_file`."""
    replace_file(path, "".join(to_json(row) + "\n" for row in rows))


def write_answers_csv(path: str | Path, rows: Sequence["Prediction"], input_columns: Sequence[str]) -> None:
    """Write the answers to new questions as CSV, in UTF-8, with what else the questions' file holds.

    Nothing is changed for spreadsheets, which take a cell that begins with `=`, `+`, `-` or `@` for a formula.

    Args:
        path: The file to write.
        rows: N answers.
        input_columns: N rows' further cells by name, as JSON; a name that is ours gets "input_" before it.

    Raises:
        OSError: As `replace_file`.
    """
    own = ("question_id", "image_id", "question", "prediction", "score")
    answered = [{name: getattr(row, name) for name in own} for row in rows]
    further = [
        {f"input_{name}" if name in own else name: cell for name, cell in json.loads(cells).items()}
        for cells in input_columns
    ]
    text = io.StringIO()
    names = dict.fromkeys(name for cells in further for name in cells)
    writer = csv.DictWriter(text, [*own, *names], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells | row for cells, row in zip(further, answered, strict=True))
    replace_file(path, text.getvalue())


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
        OSError: As `replace_file`.
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
    append_lines(Path(folder) / "test_evaluations.jsonl", to_json(entry) + "\n")
