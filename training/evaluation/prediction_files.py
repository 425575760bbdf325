"""Predictions of any system from a file, matched with the questions by id: nothing is dropped silently."""

import csv
import io
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..data.schema import as_cell
from .prediction_rows import ScoredAnswer

ID_COLUMNS = ("question_id", "id", "qid")
SUFFIXES = (".json", ".jsonl", ".csv")
_LISTED = 20


def read_predictions(path: str | os.PathLike[str]) -> dict[str, ScoredAnswer]:
    """Read a JSON, JSON Lines or CSV file with an id and a `prediction` a row.

    The id is the column `question_id`, `id` or `qid`. Optional are `score`, a log-likelihood (at most 0), or
    `confidence`, a probability, of which the logarithm becomes the score. JSON is a list of rows, or one object from
    ids to predictions. A prediction that is null, or an empty CSV cell, is a withheld answer.

    Returns:
        Predictions by id, in the file's order. Ids are text, so that 7 and "7" are the same.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the suffix is another, there are no rows, a row has no id or prediction, an id comes twice, or a
            score or confidence is out of its range; with the file and the rows or ids.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} is none of {', '.join(SUFFIXES)}.")
    rows = _read_rows(path)
    if not rows:
        raise ValueError(f"{path} holds no predictions.")
    found = [_id_and_answer(row, f"{path}: row {number} (counted from 0)") for number, row in enumerate(rows)]
    if repeated := [id_ for id_, count in Counter(id_ for id_, _ in found).items() if count > 1]:
        raise ValueError(f"{path}: {len(repeated)} ids come more than once: {_listed(repeated)}. Keep one row of each.")
    return dict(found)


def match_predictions(
    dataset: Dataset,
    predictions: Mapping[str, ScoredAnswer],
    source: str | os.PathLike[str],
    other_splits: Mapping[str, Dataset] | None = None,
) -> tuple[list[str | None], list[float | None]]:
    """The answers and scores in the order of the questions, every question once.

    Args:
        dataset: The evaluated rows of the package's schema.
        predictions: What `read_predictions` gives.
        source: The file, for messages.
        other_splits: The data's other splits, so that predictions for them are recognised.

    Raises:
        ValueError: If ids are not in the data or belong to another split, questions have no prediction, or the data
            themselves have an id more than once; it names them all.
    """
    wanted = list(map(str, dataset["question_id"]))
    problems = _wrong_ids(predictions.keys() - set(wanted), other_splits or {})
    if repeated := [id_ for id_, count in Counter(wanted).items() if count > 1]:
        named = f"The data have {len(repeated)} question ids more than once, which cannot be told apart"
        problems.insert(0, f"{named}: {_listed(repeated)}.")
    if missing := [id_ for id_ in wanted if id_ not in predictions]:
        problems.append(f"{len(missing)} of {len(wanted)} questions have no prediction: {_listed(missing)}.")
    if problems:
        raise ValueError(f"{source} does not fit the {len(wanted)} questions. " + " ".join(problems))
    return [predictions[id_].answer for id_ in wanted], [predictions[id_].score for id_ in wanted]


def _read_rows(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return list(_csv_rows(text, path))
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        content = json.loads(text, object_pairs_hook=partial(_without_repeated_names, path))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as {path.suffix[1:]} in UTF-8: {error}.") from error
    if isinstance(content, dict):
        return [{"id": id_, "prediction": prediction} for id_, prediction in content.items()]
    return content


def _csv_rows(text: str, path: Path) -> Iterator[Mapping[str, object]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    for number, row in enumerate(rows):
        # A comma that is not quoted makes a cell too many, which would cut the answer short.
        if None in row or None in row.values():
            raise ValueError(
                f"{path}: row {number} (counted from 0) has not as many cells as the header "
                f"({', '.join(rows.fieldnames or [])}). Put answers with commas into quotes."
            )
        yield row | {"prediction": row["prediction"] or None} if "prediction" in row else row


def _without_repeated_names(path: Path, pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{path}: {len(repeated)} names come more than once in one object: {_listed(repeated)}.")
    return dict(pairs)


def _id_and_answer(row: Any, place: str) -> tuple[str, ScoredAnswer]:
    """What a row says; `place` names the row in messages."""
    if not isinstance(row, dict):
        raise ValueError(f"{place} is {row!r}, not an object with id and prediction.")
    name = next((name for name in ID_COLUMNS if row.get(name) not in (None, "")), None)
    if name is None or "prediction" not in row:
        raise ValueError(
            f"{place} has the columns {', '.join(map(str, row))}; it needs one of {', '.join(ID_COLUMNS)}, and "
            "'prediction'."
        )
    answer = row["prediction"]
    if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
        raise ValueError(f"{place} predicts {answer!r}, which is no text or number.")
    try:
        # Numbers are spelled as the data's readers spell answers: 3.0 is 3, and NaN is an empty cell.
        return str(row[name]), ScoredAnswer(answer if isinstance(answer, str) else as_cell(answer), _score(row))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _score(row: Mapping[str, Any]) -> float | None:
    if row.get("score") not in (None, ""):
        score = float(row["score"])
        if score > 1e-3 or math.isnan(score):
            raise ValueError(f"score {score} is no log-likelihood: give one of at most 0, or `confidence` from 0 to 1.")
        return max(score, math.log(sys.float_info.min))
    if row.get("confidence") not in (None, ""):
        confidence = float(row["confidence"])
        if not 0 <= confidence <= 1:
            raise ValueError(f"confidence {confidence} must lie between 0 and 1.")
        return math.log(max(confidence, sys.float_info.min))
    return None


def _wrong_ids(wrong: Iterable[str], other_splits: Mapping[str, Dataset]) -> list[str]:
    unknown, problems = set(wrong), []
    for name, split in other_splits.items():
        if of_split := sorted(unknown & set(map(str, split["question_id"]))):
            problems.append(f"{len(of_split)} predictions are for questions of the split {name}: {_listed(of_split)}.")
            unknown -= set(of_split)
    if unknown:
        problems.append(f"{len(unknown)} ids are not in the data: {_listed(sorted(unknown))}.")
    return problems


def _listed(ids: list[str]) -> str:
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return ", ".join(ids[:_LISTED]) + more
