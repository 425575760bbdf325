"""From predictions to `predictions.jsonl`, `metrics.json`, the printed table and the log of test evaluations."""

import hashlib
import inspect
import json
import logging
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from ...processing_amif.answer_normalization_amif import normalize_answer
from .accuracy import is_correct, is_yes_no
from .baselines import most_frequent_by_question_type, question_only
from .bootstrap import bootstrap_ci95
from .protocols import protocol_note

logger = logging.getLogger(__name__)

Row = dict[str, Any]

_COLUMNS = ["question_id", "image_id", "question", "answer", "answer_type", "question_type"]
_CLOSED_OR_OPEN = {True: "closed", False: "open"}


def prediction_rows(
    dataset: Dataset, predictions: Sequence[str], scores: Sequence[float | None] | None = None
) -> list[Row]:
    """Rows of `predictions.jsonl`: the data's own columns, what was predicted, and whether it is right.

    Args:
        dataset: n rows of the package's schema; its images are not decoded.
        predictions: n answers in the order of `dataset`.
        scores: n scores of the predictions (log-likelihoods); None, or a score that is not finite, is written as null.

    Returns:
        n rows. `correct` and `yes_no` (the normalised answer is exactly yes or no) are None without an answer.

    Raises:
        ValueError: where the lengths differ.
    """
    scores = [None] * len(dataset) if scores is None else scores
    rows = []
    for row, prediction, score in zip(dataset.select_columns(_COLUMNS), predictions, scores, strict=True):
        row["prediction"] = prediction
        row["score"] = None if score is None or not math.isfinite(score) else float(score)
        row["correct"] = is_correct(prediction, row["answer"])
        row["yes_no"] = is_yes_no(row["answer"])
        rows.append(row)
    return rows


def accuracy_with_interval(rows: Sequence[Row]) -> Row | None:
    """`{"accuracy", "ci95", "n"}` in percent over the rows that have a reference; None where no row has one.

    `ci95` is the interval of `bootstrap_ci95` over images, `n` the number of scored questions.
    """
    scored = [row for row in rows if row["correct"] is not None]
    if not scored:
        return None
    correct = np.array([row["correct"] for row in scored])
    interval = bootstrap_ci95(correct, [str(row["image_id"]) for row in scored])
    return {"accuracy": float(100 * correct.mean()), "ci95": list(interval), "n": len(scored)}


def _accuracy_by(rows: Sequence[Row], group_of: Callable[[Row], str | None]) -> dict[str, Row]:
    """Accuracy of each group that has scored rows; rows whose group is None belong to none."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["correct"] is not None and group_of(row) is not None:
            groups[group_of(row)].append(row)
    return {group: accuracy_with_interval(groups[group]) for group in sorted(groups)}


def _accuracy_by_question_type(rows: Sequence[Row]) -> dict[str, Row]:
    if all(row["question_type"] is None for row in rows):
        return {}
    return _accuracy_by(rows, lambda row: row["question_type"] or "unspecified")


def score_rows(rows: Sequence[Row]) -> Row:
    """Overall and grouped accuracies of `prediction_rows`.

    Returns:
        `n` questions, of them `unscored` without a reference; `overall` (None where nothing could be scored);
        `by_answer_type` (the file's own closed and open), `by_yes_no` (closed: the reference is exactly yes or no)
        and `by_question_type`, each only with the groups that exist. Accuracies are `accuracy_with_interval`'s.
    """
    unscored = sum(row["correct"] is None for row in rows)
    if unscored == len(rows):
        logger.warning("None of the %d questions has a reference answer: nothing could be scored.", len(rows))
    return {
        "n": len(rows),
        "unscored": unscored,
        "overall": accuracy_with_interval(rows),
        "by_answer_type": _accuracy_by(rows, lambda row: row["answer_type"]),
        "by_yes_no": _accuracy_by(rows, lambda row: _CLOSED_OR_OPEN[row["yes_no"]]),
        "by_question_type": _accuracy_by_question_type(rows),
    }


def baseline_accuracies(training: Dataset, evaluation: Dataset) -> dict[str, Row | None]:
    """Accuracies of the systems that see no image, for the field `baselines`.

    Args:
        training: rows whose answers may be known (concatenate `known_splits`).
        evaluation: the evaluated rows.

    Returns:
        `most_frequent_by_question_type` and `question_only` over all questions, `always_no` over those whose reference
        is exactly yes or no; None where there are no such questions or no references.
    """
    always_no = prediction_rows(evaluation, ["no"] * len(evaluation))
    rows = {
        "most_frequent_by_question_type": prediction_rows(
            evaluation, most_frequent_by_question_type(training, evaluation)
        ),
        "question_only": prediction_rows(evaluation, question_only(training, evaluation)),
        "always_no": [row for row in always_no if row["yes_no"]],
    }
    return {name: accuracy_with_interval(baseline) for name, baseline in rows.items()}


def _count(values: Sequence[str | None]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted({value for value in values if value is not None})}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def evaluation_fingerprint(rows: Sequence[Row], *, seed: int, command: str) -> Row:
    """What two results must share to be comparable.

    Args:
        rows: rows of `prediction_rows`.
        seed: the run's seed.
        command: the command line that made the predictions.

    Returns:
        Closed and open counts by both definitions, the sha256 of the set of (question id, question) whatever its order,
        the answer normaliser's name and the sha256 of its source, versions, `seed` and `command`.
    """
    questions = json.dumps(sorted([str(row["question_id"]), row["question"]] for row in rows))
    normalizer = inspect.getsource(inspect.getmodule(normalize_answer))
    return {
        "answer_type_counts": _count([row["answer_type"] for row in rows]),
        "yes_no_counts": _count([_CLOSED_OR_OPEN.get(row["yes_no"]) for row in rows]),
        "questions_sha256": _sha256(questions),
        "normalizer": {"name": normalize_answer.__name__, "source_sha256": _sha256(normalizer)},
        "versions": {package: version(package) for package in ("amif", "torch", "transformers")},
        "seed": seed,
        "command": command,
    }


def build_metrics(
    rows: Sequence[Row],
    *,
    protocol: str,
    dataset_name: str,
    split: str,
    baselines: Mapping[str, Row | None],
    fingerprint: Row,
) -> Row:
    """The content of `metrics.json`: what was evaluated and how, `score_rows`, `baselines` and the fingerprint.

    Args:
        rows: rows of `prediction_rows`.
        protocol: "clean", "paper" or "generate"; its note stands beside it.
        dataset_name: name or path of the data.
        split: the evaluated split.
        baselines: `baseline_accuracies` of the same questions, empty where there is nothing to learn them from.
        fingerprint: `evaluation_fingerprint` of the same rows.

    Raises:
        ValueError: where the protocol is unknown.
    """
    return {
        "protocol": protocol,
        "protocol_note": protocol_note(protocol),
        "dataset": dataset_name,
        "split": split,
        **score_rows(rows),
        "baselines": dict(baselines),
        "fingerprint": fingerprint,
    }


def _replace_file(path: str | Path, text: str) -> None:
    # A run that is killed while writing leaves the earlier file whole.
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, replacing the file at once; ValueError for numbers that JSON cannot hold."""
    _replace_file(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


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


def append_test_evaluation(folder: str | Path, metrics: Row) -> None:
    """Append one line to `test_evaluations.jsonl` in a checkpoint's folder, so that no look at a test split is lost.

    Args:
        folder: the checkpoint's folder, with its safetensors files.
        metrics: `build_metrics` of an evaluation of that checkpoint on a test split.

    Raises:
        FileNotFoundError: where the folder holds no checkpoint.
    """
    entry = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint_sha256": checkpoint_sha256(folder),
        **{name: metrics[name] for name in ("protocol", "dataset", "split", "n")},
        "result": metrics["overall"],
    }
    with (Path(folder) / "test_evaluations.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")


def _labelled_accuracies(metrics: Row) -> list[tuple[str, Row | None]]:
    return [
        ("overall", metrics["overall"]),
        *((f"{name} (answer_type)", result) for name, result in metrics["by_answer_type"].items()),
        *((f"{name} (yes/no answer)", result) for name, result in metrics["by_yes_no"].items()),
        *((f"question type {name}", result) for name, result in metrics["by_question_type"].items()),
        *((f"baseline {name}", result) for name, result in metrics["baselines"].items()),
    ]


def _cells(label: str, result: Row | None) -> tuple[str, str, str, str]:
    if result is None:
        return label, "-", "-", "0"
    low, high = result["ci95"]
    return label, f"{result['accuracy']:.2f}", f"{low:.2f} - {high:.2f}", str(result["n"])


def format_table(metrics: Row) -> str:
    """Plain-text table of `build_metrics`: a line an accuracy with its interval and number of questions.

    A dash stands where nothing could be scored; the last line says what the protocol allows.
    """
    rows = [("accuracy in %", "value", "95 % interval", "n")]
    rows += [_cells(*labelled) for labelled in _labelled_accuracies(metrics)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{metrics['dataset']}, {metrics['split']}: {metrics['n']} questions, {metrics['unscored']} not scored"]
    for label, *numbers in rows:
        cells = [label.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
        lines.append("  ".join(cells))
    lines.append(f"Protocol {metrics['protocol']}: {metrics['protocol_note']}")
    return "\n".join(lines)
