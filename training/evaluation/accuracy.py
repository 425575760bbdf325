"""Exact-match accuracy of answers, both sides normalised."""

import datasets
import evaluate

from .correctness import is_correct

_DESCRIPTION = "Percentage of predicted answers that equal their reference after both are normalised."

_INPUTS = """
Args:
    predictions (`list` of `str`): one answer a question.
    references (`list` of `str`, number or `None`): `None` where the answer is unknown; such a question is not scored.
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

    def _compute(self, predictions: list[str], references: list[str | None]) -> dict[str, float | int | None]:
        verdicts = [is_correct(*pair) for pair in zip(predictions, references, strict=True)]
        scored = [verdict for verdict in verdicts if verdict is not None]
        return {"accuracy": 100 * sum(scored) / len(scored) if scored else None, "n": len(scored)}
