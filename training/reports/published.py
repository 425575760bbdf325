"""The paper's Table 1 beside one's own result, with what is not comparable marked."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from ..evaluation.prediction_rows import Row
from .tables import Table

_DEFINITIONS = {"answer_type": "answer_type", "yes_no": "yes/no answer"}


@cache
def published_results() -> dict[str, Any]:
    """The figures of the paper's Table 1, and the whole questions that they imply, from `published_results.json`.

    Returns:
        `source`, `protocol`, `datasets` (with `test_questions` and `notes`) and `rows`: `method`, `dataset`, `open`,
        `closed` and `overall` in percent as printed, None where nothing was; where the percentages have exactly one
        solution in whole questions, `counts` of right and all questions, and `closed_by`, the definition that gives it.
    """
    return json.loads(files(__package__).joinpath("published_results.json").read_text(encoding="utf-8"))


def published_table(metrics: Row) -> Table | None:
    """The paper's rows for a data set with the result of `build_metrics` below; None where the paper has no such set.

    A star marks open and closed that are grouped by another definition than ours beside them, or by an unknown one: of
    such rows the overall accuracy alone compares. The notes say what else keeps figures from being compared.
    """
    published = published_results()
    rows = [row for row in published["rows"] if row["dataset"] == metrics["dataset"]]
    if not rows:
        return None
    ours = [_our_cells(metrics, definition) for definition in _DEFINITIONS]
    return Table(
        f"{published['source']}, {metrics['dataset']}, in %",
        ("method", "open", "closed", "overall", "right / all", "closed by", "protocol"),
        [*(_published_cells(row, published["protocol"]) for row in rows), *ours],
        _notes(metrics, published),
    )


def _published_cells(row: dict[str, Any], protocol: str) -> tuple[str, ...]:
    counts = row.get("counts")
    star = "" if counts else "*"
    fraction = "/".join(map(str, counts["overall"])) if counts else "-"
    parts = [f"{row[part]:.2f}{star}" if row[part] is not None else "-" for part in ("open", "closed")]
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


def _our_cells(metrics: Row, definition: str) -> tuple[str, ...]:
    groups = metrics[f"by_{definition}"]
    parts = [f"{groups[part]['accuracy']:.2f}" if part in groups else "-" for part in ("open", "closed")]
    overall = metrics["overall"]
    if overall is None:
        return "this result", *parts, "-", "-", _DEFINITIONS[definition], metrics["protocol"]
    right = round(overall["accuracy"] * overall["n"] / 100)
    value, fraction = f"{overall['accuracy']:.2f}", f"{right}/{overall['n']}"
    return "this result", *parts, value, fraction, _DEFINITIONS[definition], metrics["protocol"]


def _notes(metrics: Row, published: dict[str, Any]) -> list[str]:
    facts = published["datasets"][metrics["dataset"]]
    notes = ["* grouped by a definition that its percentages do not tell: compare overall alone.", *facts["notes"]]
    if metrics["protocol"] != published["protocol"]:
        notes.append(
            f"Not comparable: the paper ranks the test split's own answers, this result is of the protocol "
            f"{metrics['protocol']!r}."
        )
    if metrics["split"] != "test":
        notes.append(
            f"Not comparable: the paper's figures are of the test split, this result is of {metrics['split']}."
        )
    elif facts["test_questions"] not in (None, metrics["n"]):
        notes.append(
            f"Not comparable: the paper's test split has {facts['test_questions']} questions, this one {metrics['n']}."
        )
    return notes
