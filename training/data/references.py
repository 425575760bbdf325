"""What a model is trained to say where a reference accepts several answers."""

from collections.abc import Callable

from ...processing_amif.answer_normalization_amif import normalize_answer

Answer = str | int | float

# From a reference to the normalised answers of which any is right.
AcceptableAnswers = Callable[[Answer | None], list[str]]


def plain_answer(reference: str) -> str:
    """The normalised first alternative of a reference, its optional parts without their parentheses.

    VQA-Med-2019 writes several right answers as one: `#` parts alternatives, `(...)` is optional. The data keep that
    text for scoring, which accepts every form; training needs one, and takes the fullest. "ct w/contrast (iv)#ct" is
    learned as "ct w/contrast iv". Empty where no alternative holds a word or a number.
    """
    return next(filter(None, map(_normal_form, reference.split("#"))), "")


def _normal_form(text: str) -> str:
    try:
        return normalize_answer(text)
    except ValueError:
        return ""


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
