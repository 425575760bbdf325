"""What two results must share to be comparable."""

import hashlib
import inspect
import json
from collections.abc import Sequence
from importlib.metadata import version

from ...processing_amif.answer_normalization_amif import normalize_answer
from .grouped_accuracy import CLOSED_OR_OPEN
from .prediction_rows import Row

_PACKAGES = ("amif", "torch", "transformers", "datasets", "numpy", "sacrebleu")


def _count(values: Sequence[str | None]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted({value for value in values if value is not None})}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def evaluation_fingerprint(rows: Sequence[Row], *, protocol: str, seed: int | None, command: str) -> Row:
    """What two results must share to be comparable.

    Args:
        rows: rows of `prediction_rows`.
        protocol: where the candidates came from.
        seed: the seed of the run that made the predictions; None where nobody knows it.
        command: the command line that made the predictions, or scored them.

    Returns:
        Closed and open counts by both definitions, the sha256 of the set of (question id, question) whatever its order,
        the answer normaliser's name and the sha256 of its source, versions, `protocol`, `seed` and `command`.
    """
    questions = json.dumps(sorted([str(row["question_id"]), row["question"]] for row in rows))
    normalizer = inspect.getsource(inspect.getmodule(normalize_answer))
    return {
        "answer_type_counts": _count([row["answer_type"] for row in rows]),
        "yes_no_counts": _count([CLOSED_OR_OPEN.get(row["yes_no"]) for row in rows]),
        "questions_sha256": _sha256(questions),
        "normalizer": {"name": normalize_answer.__name__, "source_sha256": _sha256(normalizer)},
        "versions": {package: version(package) for package in _PACKAGES},
        "protocol": protocol,
        "seed": seed,
        "command": command,
    }
