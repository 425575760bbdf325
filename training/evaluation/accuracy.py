"""Exact-match accuracy of answers, both sides normalised."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from ..data.references import Reference, first_answer
from .correctness import is_correct

_DESCRIPTION = "Percentage of predicted answers that equal their reference after both are normalised."

_INPUTS = """
Args:
    predictions (`list` of `str`): one answer a question.
    references (`list` of `str`, number, list of right answers or `None`): `None` where the answer is unknown; such a
        question is not scored.
Returns:
    `{"accuracy": percent, or None where nothing could be scored, "n": number of scored questions}`.
"""


class VqaAccuracy(evaluate.Metric):
    """Exact-match accuracy in percent as an `evaluate.Metric`; it needs no network."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        features = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features)

    def _enforce_nested_string_type(self, schema: object, obj: object) -> None:
        # The base class refuses None and numbers, and VQA-RAD's answers hold numbers, a test split's may all be None.
        pass

    def compute(
        self,
        *,
        predictions: list[str] | None = None,
        references: Sequence[Reference | None] | None = None,
        **kwargs: Any,
    ) -> dict[str, float | int | None] | None:
        """As of the base class, which keeps texts: of several right answers the one that was given, else the first."""
        if predictions is not None and references is not None and len(predictions) == len(references):
            references = [
                None if several is None else answer if is_correct(answer, several) else first_answer(several)
                for answer, several in zip(predictions, references, strict=True)
            ]
        return super().compute(predictions=predictions, references=references, **kwargs)

    def _compute(self, predictions: list[str], references: list[str | None]) -> dict[str, float | int | None]:
        verdicts = [is_correct(*pair) for pair in zip(predictions, references, strict=True)]
        scored = [verdict for verdict in verdicts if verdict is not None]
        return {"accuracy": 100 * sum(scored) / len(scored) if scored else None, "n": len(scored)}
