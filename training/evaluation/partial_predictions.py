"""Answers written as they come, so that an interrupted evaluation goes on where it stopped."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from .prediction_rows import ScoredAnswer
from .result_files import write_jsonl

PATTERN = "predictions.partial-*.jsonl"


class AnswerLine(TypedDict):
    """A line of a file: which evaluation it belongs to, which row it answers, and the answer."""

    fingerprint: str
    row: int
    question_id: str
    prediction: str | None
    score: float | None


class PartialPredictions:
    """The answers of an evaluation that has not ended, one file a process, a line a question.

    Every line carries the fingerprint of what was evaluated, and only lines with the same one are gone on from. Call
    `read` on every process before any calls `append`.

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
        return {line["row"]: ScoredAnswer(line["prediction"], line["score"]) for line in self._lines()}

    def tidy(self) -> None:
        """Leave one file with the lines of this evaluation; for one process, between `read` and `append`."""
        lines = self._lines()
        _remove_files(self.folder)
        if lines:
            write_jsonl(self.folder / PATTERN.replace("*", "earlier"), lines)

    def append(self, rows: Sequence[int], question_ids: Sequence[str], answers: Sequence[ScoredAnswer]) -> None:
        """Write the answers of a batch; they outlive the process from here on."""
        lines = [
            AnswerLine(fingerprint=self.fingerprint, row=row, question_id=name, prediction=text, score=score)
            for row, name, (text, score) in zip(rows, question_ids, answers, strict=True)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def _lines(self) -> list[AnswerLine]:
        lines = []
        for path in sorted(self.folder.glob(PATTERN)):
            for text in path.read_text("utf-8").split("\n"):
                with suppress(ValueError):  # a killed process leaves its last line cut off
                    lines.append(json.loads(text))
        return [line for line in lines if line.get("fingerprint") == self.fingerprint]


def replaced_images_folder(folder: str | Path, how: str, seed: int) -> Path:
    """Where a run keeps its partial predictions on other images, `how` and `seed` as for `replace_images`."""
    return Path(folder) / f"predictions.partial-{how}-{seed}"


def remove_partial_predictions(folder: str | Path) -> None:
    """Delete what `PartialPredictions` wrote there and in `replaced_images_folder`s, once the evaluation is written."""
    _remove_files(Path(folder))
    for path in Path(folder).glob("predictions.partial-*"):
        if path.is_dir():
            shutil.rmtree(path)


def _remove_files(folder: Path) -> None:
    for path in folder.glob(PATTERN):
        path.unlink()
