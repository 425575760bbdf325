"""Answers written as they come, so that an interrupted evaluation goes on where it stopped."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import TypedDict

from transformers.utils import logging

from .finite import check_score
from .prediction_rows import ScoredAnswer
from .result_files import PARTIAL_NAME, append_lines, replace_file, to_json

logger = logging.get_logger(__name__)

PATTERN = f"{PARTIAL_NAME}*.jsonl"


class AnswerLine(TypedDict):
    """What a line of a file says, beside a hash of it: which evaluation, which row it answers, and the answer."""

    fingerprint: str
    row: int
    question_id: str
    prediction: str | None
    score: float | None


_TYPES = {
    "fingerprint": (str,),
    "row": (int,),
    "question_id": (str,),
    "prediction": (str, NoneType),
    "score": (float, NoneType),
}


class PartialPredictions:
    """The answers of an evaluation that has not ended, one file a process, a line a question.

    Every line carries the fingerprint of what was evaluated, and only lines with the same one are gone on from. A line
    that is cut off, damaged or changed by hand does not fit its hash, and its question is answered again. Call `read`
    on every process before any calls `append`.

    Args:
        folder: The run's output folder.
        fingerprint: Names model, data, candidates and settings; two evaluations that share it give the same answers.
        process_index: Which file this process appends to.
    """

    def __init__(self, folder: str | Path, fingerprint: str, process_index: int = 0) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.file = self.folder / PATTERN.replace("*", str(process_index))

    def read(self) -> dict[int, ScoredAnswer]:
        """Answer and score of each row that any process of an interrupted evaluation has answered."""
        return {
            line["row"]: ScoredAnswer(line["prediction"], line["score"])
            for path in self._files()
            for line in read_answer_lines(path)
            if line["fingerprint"] == self.fingerprint
        }

    def tidy(self) -> None:
        """Leave one file with all whole lines; for one process, between `read` and `append`.

        Those of other evaluations stay too, until one of them ends. The file is written before the others are deleted.

        Raises:
            OSError: If it cannot be written; all answers are kept.
        """
        files = self._files()
        lines = [line for path in files for line in read_answer_lines(path)]
        whole = self.folder / PATTERN.replace("*", "earlier")
        if lines:
            replace_file(whole, "".join(map(_checked_text, lines)))
        for path in files:
            if path != whole or not lines:
                path.unlink()

    def append(self, rows: Sequence[int], question_ids: Sequence[str], answers: Sequence[ScoredAnswer]) -> None:
        """Write the answers of a batch, all or none; they outlive the process from here on.

        Raises:
            ValueError: If a score is not finite.
            OSError: If they cannot be written; all earlier answers are kept.
        """
        lines = [
            AnswerLine(
                fingerprint=self.fingerprint,
                row=row,
                question_id=name,
                prediction=text,
                score=check_score(score, name),
            )
            for row, name, (text, score) in zip(rows, question_ids, answers, strict=True)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        append_lines(self.file, "".join(map(_checked_text, lines)))

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(PATTERN) if path.is_file())


def read_answer_lines(path: Path) -> list[AnswerLine]:
    """The lines of one file that are whole; how many are not is told in a warning."""
    # Bytes, for the last line of a killed process may be cut within a letter.
    texts = [text for text in path.read_bytes().split(b"\n") if text.strip()]
    lines = [line for line in map(_whole_line, texts) if line is not None]
    if len(lines) < len(texts):
        logger.warning(
            f"{path}: {len(texts) - len(lines)} of {len(texts)} lines are cut off, damaged or changed: dropped, and "
            "their questions are answered again."
        )
    return lines


def _whole_line(text: bytes) -> AnswerLine | None:
    """What a line says; None where it is not as it was written."""
    try:
        line = json.loads(text)
        said = AnswerLine(**{name: line[name] for name in _TYPES})
        whole = line.keys() == _TYPES.keys() | {"check"}
        typed = all(type(value) in _TYPES[name] for name, value in said.items())
        return said if whole and typed and line["check"] == _check_of(said) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _check_of(line: AnswerLine) -> str:
    # Short, for it protects from accidents and not from forgers.
    return hashlib.sha256(to_json(line).encode()).hexdigest()[:16]


def _checked_text(line: AnswerLine) -> str:
    return to_json({**line, "check": _check_of(line)}) + "\n"


def replaced_images_folder(folder: str | Path, how: str, seed: int) -> Path:
    """Where a run keeps its partial predictions on other images, `how` and `seed` as for `replace_images`."""
    return Path(folder) / f"{PARTIAL_NAME}{how}-{seed}"


def remove_partial_predictions(folder: str | Path) -> None:
    """Delete what `PartialPredictions` wrote there and in `replaced_images_folder`s, once the evaluation is written."""
    for path in Path(folder).glob(f"{PARTIAL_NAME}*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.match(PATTERN):
            path.unlink()
