"""The paper's Table 1 beside one's own result, with what is not comparable marked."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, NotRequired, TypedDict

from ..evaluation.metrics import Metrics
from ..evaluation.results import Interval
from .tables import Table

Definition = Literal["answer_type", "yes_no"]

_DEFINITIONS: dict[Definition, str] = {"answer_type": "answer_type", "yes_no": "yes/no answer"}


class PublishedCounts(TypedDict):
    """Right and all questions of each kind, and the definition of closed that gives them."""

    closed_by: Definition
    open: list[int]
    closed: list[int]
    overall: list[int]


class PublishedRow(TypedDict):
    """A method's figures on one data set, in percent as printed, None where nothing was.

    `counts` stand where the percentages have exactly one solution in whole questions.
    """

    method: str
    dataset: str
    open: float | None
    closed: float | None
    overall: float
    counts: NotRequired[PublishedCounts]


class PublishedDataset(TypedDict):
    """How many questions the paper's test split has, None where that is not known, and what keeps figures apart."""

    test_questions: int | None
    notes: list[str]


class PublishedResults(TypedDict):
    """The paper's Table 1: where it is from, under which protocol, its data sets by name, and its rows."""

    source: str
    protocol: str
    datasets: dict[str, PublishedDataset]
    rows: list[PublishedRow]


@cache
def published_results() -> PublishedResults:
    """The figures of the paper's Table 1, and the whole questions that they imply, from `published_results.json`."""
    return json.loads(files(str(__package__)).joinpath("published_results.json").read_text(encoding="utf-8"))


def published_table(metrics: Metrics) -> Table | None:
    """The paper's rows for a data set with our result below; None where the paper has no such set.

    A star marks open and closed that are grouped by another definition than ours beside them, or by an unknown one: of
    such rows the overall accuracy alone compares. The notes say what else keeps figures from being compared.
    """
    published = published_results()
    rows = [row for row in published["rows"] if row["dataset"] == metrics.dataset]
    if not rows:
        return None
    ours = [
        _our_cells(metrics, metrics.scores.by_answer_type, _DEFINITIONS["answer_type"]),
        _our_cells(metrics, metrics.scores.by_yes_no, _DEFINITIONS["yes_no"]),
    ]
    return Table(
        f"{published['source']}, {metrics.dataset}, in %",
        ("method", "open", "closed", "overall", "right / all", "closed by", "protocol"),
        [*(_published_cells(row, published["protocol"]) for row in rows), *ours],
        _notes(metrics, published),
    )


def _published_cells(row: PublishedRow, protocol: str) -> tuple[str, ...]:
    counts = row.get("counts")
    star = "" if counts else "*"
    fraction = "/".join(map(str, counts["overall"])) if counts else "-"
    parts = ["-" if value is None else f"{value:.2f}{star}" for value in (row["open"], row["closed"])]
    definition = _DEFINITIONS[counts["closed_by"]] if counts else "unknown"
    # Only AMiF says which candidates it ranked; what the others did differs and is not in the table.
    return (
        row["method"],
        *parts,
        f"{row['overall']:.2f}",
        fraction,
        definition,
        protocol if row["method"] == "AMiF" else "its own",
    )


def _our_cells(metrics: Metrics, groups: Mapping[str, Interval], definition: str) -> tuple[str, ...]:
    parts = [f"{groups[part].value:.2f}" if part in groups else "-" for part in ("open", "closed")]
    overall, value, fraction = metrics.scores.overall, "-", "-"
    if overall is not None:
        value, fraction = f"{overall.value:.2f}", f"{round(overall.value * overall.n / 100)}/{overall.n}"
    return "this result", *parts, value, fraction, definition, metrics.protocol


def _notes(metrics: Metrics, published: PublishedResults) -> list[str]:
    facts = published["datasets"][metrics.dataset]
    notes = ["* grouped by a definition that its percentages do not tell: compare overall alone.", *facts["notes"]]
    if metrics.protocol != published["protocol"]:
        notes.append(
            f"Not comparable: the paper ranks the test split's own answers, this result is of the protocol "
            f"{metrics.protocol!r}."
        )
    if metrics.split != "test":
        notes.append(f"Not comparable: the paper's figures are of the test split, this result is of {metrics.split}.")
    elif facts["test_questions"] not in (None, metrics.scores.n):
        notes.append(
            f"Not comparable: the paper's test split has {facts['test_questions']} questions, this one "
            f"{metrics.scores.n}."
        )
    return notes
