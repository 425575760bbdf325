"""References: which answers are right, and which one a model is trained to say.

`normalize_answer` alone says what the normal form of an answer is. `normal_form` is the same for whatever a model may
say: it is empty where `normalize_answer` finds nothing to compare and raises. VQA-Med-2019 writes several right answers
as one reference, `#` between alternatives and optional parts in `(...)`; how that is read is said here alone.
"""

import itertools
import re
from collections.abc import Callable

from ...processing_amif.answer_normalization_amif import normalize_answer

Answer = str | int | float

# From a reference to the normalised answers of which any is right.
AcceptableAnswers = Callable[[Answer | None], list[str]]

_OPTIONAL_PART = re.compile(r"\(([^()]*)\)")


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

    Optional parts are kept without their parentheses: "ct w/contrast (iv)#ct" gives "ct w/contrast iv" and "ct". An
    alternative of which nothing is left after normalising is dropped.
    """
    if reference is None:
        return []
    return [answer for answer in map(normal_form, _alternatives(reference)) if answer]


def plain_answer(reference: str) -> str:
    """The answer that a model is trained to say, the first of `acceptable_answers`; empty where there is none."""
    return next(iter(acceptable_answers(reference)), "")


def answer_alternatives(reference: Answer) -> list[str]:
    """The answers that a reference of VQA-Med-2019 accepts, as the file writes them, with and without optional parts.

    "cta (with contrast)#ct" gives "cta with contrast", "cta" and "ct". Each of several optional parts may be left out
    on its own.
    """
    spellings = (spelling for part in _alternatives(reference) for spelling in _with_and_without_options(str(part)))
    return list(dict.fromkeys(spelling for spelling in spellings if spelling))


def acceptable_vqa_med_answers(reference: Answer | None) -> list[str]:
    """`answer_alternatives`, normalised; none for None."""
    if reference is None:
        return []
    normalized = [normal_form(alternative) for alternative in answer_alternatives(reference)]
    return list(dict.fromkeys(answer for answer in normalized if answer))


def acceptable_answers_of(dataset_name: str) -> AcceptableAnswers:
    """The rule by which a data set's references are read: VQA-Med-2019's own for it, the package's for the others."""
    return acceptable_vqa_med_answers if dataset_name == "vqa_med_2019" else acceptable_answers


def _alternatives(reference: Answer) -> list[Answer]:
    return [*reference.split("#")] if isinstance(reference, str) else [reference]


def _with_and_without_options(text: str) -> list[str]:
    # Split at a pattern with one group, texts stand at even places and what the brackets held at odd ones.
    pieces = _OPTIONAL_PART.split(text)
    choices = [(piece, "") if place % 2 else (piece,) for place, piece in enumerate(pieces)]
    return [" ".join(" ".join(chosen).split()) for chosen in itertools.product(*choices)]
