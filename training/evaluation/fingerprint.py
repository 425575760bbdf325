"""What two results must share to be comparable."""

import ast
import hashlib
import inspect
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset

from ...processing_amif import answer_normalization_amif
from ...processing_amif.answer_normalization_amif import normalize_answer
from ..data.views import cells_of, undecoded
from ..data.zipped_images import image_file_state
from . import answer_extraction, statements
from .grouped_accuracy import CLOSED_OR_OPEN
from .prediction_rows import Prediction
from .results import Result

if TYPE_CHECKING:
    from ...processing_amif import AmifProcessor

_PACKAGES = ("amif", "torch", "transformers", "datasets", "numpy", "sacrebleu")


def _counts(values: Sequence[str | None]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted({value for value in values if value is not None})}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def code_sha256(source: str) -> str:
    """sha256 of what Python code does: comments, docstrings and the layout of its lines do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[said:] or [ast.Pass()]
    return _sha256(ast.unparse(tree))  # and not ast.dump, whose fields differ from one version of Python to the next


@dataclass(frozen=True)
class Normalizer(Result):
    """What brings answers to their normal form: its name, and `code_sha256` of its file."""

    name: str
    source_sha256: str


@dataclass(frozen=True)
class ExtractionRules(Result):
    """What takes answers out of sentences: the version of the rules, and `code_sha256` of their files."""

    version: int
    source_sha256: str


@dataclass(frozen=True)
class Fingerprint(Result):
    """What two results must share to be comparable.

    Attributes:
        answer_type_counts: Closed and open questions, as the file says.
        yes_no_counts: Closed and open questions, closed where the reference is exactly yes or no.
        questions_sha256: Of the set of (question id, question), whatever its order.
        normalizer: Of answers.
        versions: Of the packages that figures depend on.
        protocol: Where the candidates came from.
        seed: Of the run that made the predictions; None where nobody knows it.
        command: The command line that made the predictions, or scored them.
        extraction: The rules by which answers were taken out of sentences; None where none were.
    """

    answer_type_counts: dict[str, int]
    yes_no_counts: dict[str, int]
    questions_sha256: str
    normalizer: Normalizer
    versions: dict[str, str]
    protocol: str
    seed: int | None
    command: str
    extraction: ExtractionRules | None = None


def command_line() -> str:
    """The command of this process as it can be given again, in the words of a shell."""
    program, *words = sys.argv
    # "amif train" is a program and a word.
    return shlex.join([*(program.split(" ") if program.startswith("amif ") else [program]), *words])


def evaluation_fingerprint(
    rows: Sequence[Prediction], *, protocol: str, seed: int | None, command: str, extracts: bool = False
) -> Fingerprint:
    """The fingerprint of an evaluation; arguments as in `Fingerprint`; `extracts`: answers were taken out."""
    questions = json.dumps(sorted([row.question_id, row.question] for row in rows))
    source = inspect.getsource(answer_normalization_amif)
    rules = inspect.getsource(answer_extraction) + inspect.getsource(statements)
    return Fingerprint(
        answer_type_counts=_counts([row.answer_type for row in rows]),
        yes_no_counts=_counts([CLOSED_OR_OPEN[row.yes_no] for row in rows]),
        questions_sha256=_sha256(questions),
        normalizer=Normalizer(normalize_answer.__name__, code_sha256(source)),
        versions={package: version(package) for package in _PACKAGES},
        protocol=protocol,
        seed=seed,
        command=command,
        extraction=ExtractionRules(answer_extraction.RULES_VERSION, code_sha256(rules)) if extracts else None,
    )


def prediction_fingerprint(
    model: torch.nn.Module, processor: "AmifProcessor", dataset: Dataset, **settings: Any
) -> str:
    """sha256 of all that the predictions of a model of ours follow from.

    Args:
        model: Its weights and buffers count, whatever their path.
        processor: Its settings and vocabulary count.
        dataset: As for `answers_fingerprint`.
        **settings: As for `answers_fingerprint`.
    """
    return answers_fingerprint(_model_parts(model, processor), dataset, **settings)


def answers_fingerprint(model_parts: Iterable[bytes], dataset: Dataset, **settings: Any) -> str:
    """sha256 of all that answers follow from.

    Args:
        model_parts: All that model and processor are.
        dataset: Rows of the schema; questions and images count, answers do not.
        **settings: What else changes an answer, such as candidates, or its last digit, such as the batch size.
    """
    digest = hashlib.sha256()
    for part in chain(model_parts, _dataset_parts(dataset)):
        digest.update(part)
    versions = {package: version(package) for package in ("amif", "torch", "transformers")}
    digest.update(json.dumps([settings, versions], sort_keys=True).encode())
    return digest.hexdigest()


def _model_parts(model: torch.nn.Module, processor: "AmifProcessor") -> Iterator[bytes]:
    # Not its state_dict, which FSDP spreads over the processes again.
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    yield processor.image_processor.to_json_string().encode()
    yield json.dumps(processor.tokenizer.get_vocab(), sort_keys=True).encode()
    yield f"{processor.max_question_length} {processor.lowercase}".encode()


def _dataset_parts(dataset: Dataset) -> Iterator[bytes]:
    columns = dataset.select_columns(["question_id", "image_id", "question", "image"])
    for row in undecoded(columns):
        cells = dict(row)
        images = cells_of(cells.pop("image"))
        yield json.dumps(cells).encode()
        for image in images:
            yield image["bytes"] or image_file_state(str(image["path"])).encode()
