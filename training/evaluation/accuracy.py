"""Exact-match accuracy of answers, both sides normalised."""

from collections.abc import Callable

import datasets
import evaluate

from ...processing_amif.answer_normalization_amif import normalize_answer

Answer = str | int | float
# From a reference to the normalised answers of which any is right.
AcceptableAnswers = Callable[[Answer | None], list[str]]

_DESCRIPTION = "Percentage of predicted answers that equal their reference after both are normalised."
_INPUTS = """
Args:
    predictions (`list` of `str`): one answer a question.
    references (`list` of `str`, number or `None`): `None` where the answer is unknown; such a question is not scored.
Returns:
    `{"accuracy": percent, or None where nothing could be scored, "n": number of scored questions}`.
"""


def normal_form(text: Answer | None) -> str:
    """`normalize_answer`, but empty where no word or number is left, as in a decoded ".", and for a withheld answer."""
    if text is None:
        return ""
    try:
        return normalize_answer(text)
    except ValueError:
        return ""


def acceptable_answers(reference: Answer | None) -> list[str]:
    """Normalised answers of which any is right: none for `None`, several where `#` separates alternatives.

    The `#` is VQA-Med-2019's convention; an alternative of which nothing is left after normalising is dropped.
    """
    if reference is None:
        return []
    alternatives = reference.split("#") if isinstance(reference, str) else [reference]
    normalized = [normal_form(alternative) for alternative in alternatives]
    return [answer for answer in normalized if answer]


def is_correct(
    prediction: Answer | None, reference: Answer | None, acceptable: AcceptableAnswers = acceptable_answers
) -> bool | None:
    """Whether the normalised prediction is an acceptable answer; `None` where there is no reference to say so.

    A withheld answer (`None`) is not right.
    """
    if reference is None:
        return None
    return normal_form(prediction) in acceptable(reference)


def is_yes_no(reference: Answer | None) -> bool | None:
    """The paper's closed question: its normalised reference is exactly yes or no; `None` without a reference."""
    if reference is None:
        return None
    return normal_form(reference) in ("yes", "no")


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
