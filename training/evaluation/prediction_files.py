"""Predictions of any system from a file, matched with the questions by id: nothing is dropped silently."""

import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers.utils import logging

from ..data.readers.csv_files import read_csv
from ..data.readers.table_files import check_named_cells, read_json_content, read_json_lines
from ..data.references import joined_answers
from ..data.schema import as_cell, as_texts
from ..data.shown_values import MAX_SHOWN, shown
from .prediction_rows import COLUMNS, COLUMNS_OF_SOME, ScoredAnswer

logger = logging.get_logger(__name__)

ID_COLUMNS = ("question_id", "id", "qid")
# What files of answers call them; `prediction` counts where it stands beside another.
ANSWER_COLUMNS = ("prediction", "text", "response", "output")
SUFFIXES = (".json", ".jsonl", ".csv")
_LISTED = 20
# Those that count, and those that a `predictions.jsonl` repeats from the data or says of the answer.
_READ = {
    *ID_COLUMNS,
    "score",
    "confidence",
    *COLUMNS,
    *COLUMNS_OF_SOME,
    "choices",
    "correct",
    "yes_no",
    "extracted",
    "extracted_correct",
}


def read_predictions(
    path: str | os.PathLike[str], judge_column: str | None = None, answers: str = "any"
) -> dict[str, ScoredAnswer]:
    """Read a JSON, JSON Lines or CSV file with an id and a `prediction` a row.

    The id is the column `question_id`, `id` or `qid`; the prediction may be called `text`, `response` or `output` too.
    Optional are `score`, a log-likelihood (at most 0), or `confidence`, a probability, of which the logarithm becomes
    the score; where a row has both, the score counts. JSON is a list of rows, or one object from ids to predictions. A
    prediction that is null, or an empty CSV cell, is a withheld answer; a list of one is that one, and with `answers`
    "all" a longer list is one text, `joined_answers`. Columns that are not read are named in a warning, but for those
    of our own files and `judge_column`, which `read_judge_scores` reads: whatever it is called, it says nothing of a
    system's own confidence.

    Returns:
        Predictions by id, in the file's order. Ids are text, so that 7 and "7" are the same.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the suffix is another, the file is damaged, of another encoding or not separated by commas, a
            column or name comes twice, there are no rows, a row has no id or prediction, an id comes twice, two columns
            may hold the prediction, or a score or confidence is no number or out of its range; with the file and the
            rows or ids.
    """
    rows = _read_rows(Path(path))
    if judge_column is not None:
        rows = [
            {name: cell for name, cell in row.items() if name != judge_column} if isinstance(row, dict) else row
            for row in rows
        ]
    column = _answer_column(rows, path)
    found = [
        _id_and_answer(row, column, f"{path}: row {number} (counted from 0)", answers == "all")
        for number, row in enumerate(rows)
    ]
    if repeated := [id_ for id_, count in Counter(id_ for id_, _ in found).items() if count > 1]:
        raise ValueError(f"{path}: {len(repeated)} ids come more than once: {_listed(repeated)}. Keep one row of each.")
    if unread := {name: None for row in rows for name in row if name not in {*_READ, column}}:
        logger.warning(f"{path}: not read: the columns {', '.join(map(shown, unread))}.")
    return dict(found)


def read_judge_scores(path: str | os.PathLike[str], column: str) -> dict[str, float]:
    """What a judge gave each answer of a file that `read_predictions` has read: numbers from 0 to 1, by id.

    Raises:
        ValueError: If a row has no such number, naming the first of them and how many there are.
    """
    scores, problems = {}, []
    for number, row in enumerate(_read_rows(Path(path))):
        id_ = next(id_ for name in ID_COLUMNS if (id_ := as_cell(row.get(name))) is not None)
        try:
            value = _number(row, column)
        except ValueError:
            value = None
        if value is not None and 0 <= value <= 1:
            scores[id_] = value
        else:
            given = shown(row.get(column))
            problems.append(
                f"row {number} (counted from 0), id {_shortened(id_)}: {column} is {given}, not from 0 to 1"
            )
    if problems:
        more = f"; likewise {len(problems) - 1} more" if problems[1:] else ""
        raise ValueError(f"{path}: {problems[0]}{more}. Judge every answer, or leave out --judge_column.")
    return scores


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
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the file of predictions, of {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: give one of predictions, of {', '.join(SUFFIXES)}.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} is none of {', '.join(SUFFIXES)}.")
    if path.suffix.lower() == ".csv":
        # An empty cell is a withheld answer; an empty text of JSON is an answer, and wrong.
        return [{name: cell or None for name, cell in row.items()} for row in read_csv(path)]
    content = read_json_lines(path) if path.suffix.lower() == ".jsonl" else read_json_content(path)
    if isinstance(content, dict):
        content = [{"id": id_, "prediction": prediction} for id_, prediction in content.items()]
    if not content and isinstance(content, list):
        raise ValueError(f"{path} holds no predictions.")
    if not isinstance(content, list):
        raise ValueError(
            f"{path} holds {shown(content)}: give a list of objects with id and prediction, or one object from ids to "
            "predictions."
        )
    return content


def _answer_column(rows: list[Any], path: str | os.PathLike[str]) -> str:
    """Which column holds the answers; said where it is not `prediction`, which stands where there is none."""
    present = [name for name in ANSWER_COLUMNS if any(isinstance(row, dict) and name in row for row in rows)]
    if ANSWER_COLUMNS[0] in present or not present:
        return ANSWER_COLUMNS[0]
    if present[1:]:
        named = ", ".join(map(shown, present))
        raise ValueError(f"{path}: any of {named} may hold the answers: call the right column 'prediction'.")
    logger.info(f"{path}: the answers are those of the column {present[0]!r}.")
    return present[0]


def _id_and_answer(row: Any, column: str, place: str, several: bool) -> tuple[str, ScoredAnswer]:
    """What a row says; `place` names the row in messages."""
    if not isinstance(row, dict):
        raise ValueError(f"{place} is {shown(row)}, not an object with id and prediction.")
    try:
        check_named_cells(row)
        id_ = next((id_ for name in ID_COLUMNS if (id_ := as_cell(row.get(name))) is not None), None)
        if id_ is None or column not in row:
            raise ValueError(
                f"it has the columns {', '.join(map(shown, row))}, and needs one of {', '.join(ID_COLUMNS)} that is "
                f"not empty, and {column!r}."
            )
        place, answer = f"{place}, id {_shortened(id_)}", row[column]
        if isinstance(answer, list) and len(answer) == 1:
            (answer,) = answer
        if isinstance(answer, list) and several:
            answer = joined_answers([text for text in as_texts(answer) or () if text is not None]) or None
        if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
            cure = " Lists are scored with --answers all." if isinstance(answer, list) else ""
            raise ValueError(f"it predicts {shown(answer)}, which is no text or number.{cure}")
        # Numbers are spelled as the data's readers spell answers: 3.0 is 3, and NaN is an empty cell.
        text = as_cell(answer)
        return id_, ScoredAnswer(answer if isinstance(answer, str) else text, _score(row))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _score(row: Mapping[str, Any]) -> float | None:
    score, confidence = _number(row, "score"), _number(row, "confidence")
    if score is not None:
        if score > 1e-3 or math.isnan(score):
            raise ValueError(f"score {score} is no log-likelihood: give one of at most 0, or `confidence` from 0 to 1.")
        return max(score, math.log(sys.float_info.min))
    if confidence is not None:
        if not 0 <= confidence <= 1:
            raise ValueError(f"confidence {confidence} must lie between 0 and 1.")
        return math.log(max(confidence, sys.float_info.min))
    return None


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """A cell that is a number or empty."""
    value = row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} {shown(value)} is no number: give one, or leave it out.") from None


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
    return ", ".join(map(_shortened, ids[:_LISTED])) + more


def _shortened(id_: str) -> str:
    return id_ if len(id_) <= MAX_SHOWN else shown(id_)
