"""References: which answers are right.

`normalize_answer` alone says what the normal form of an answer is. `normal_form` is the same for whatever a model may
say: it is empty where `normalize_answer` finds nothing to compare and raises. VQA-Med-2019 writes several right answers
as one reference, `#` between alternatives and optional parts in `(...)`, VQA-Med-2021 `|` between them; how that is
read is said here alone, and holds for no other data set: elsewhere "tooth #14" is one answer.
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
    """The normalised answer, the only one that is right; none for `None` and where normalising leaves nothing."""
    answer = normal_form(reference)
    return [answer] if answer else []


def answer_alternatives(reference: Answer) -> list[str]:
    """The answers that a reference of VQA-Med-2019 accepts, as the file writes them, with and without optional parts.

    "cta (with contrast)#ct" gives "cta with contrast", "cta" and "ct". Each of several optional parts may be left out
    on its own.
    """
    spellings = (spelling for part in str(reference).split("#") for spelling in _with_and_without_options(part))
    return list(dict.fromkeys(spelling for spelling in spellings if spelling))


def acceptable_vqa_med_answers(reference: Answer | None) -> list[str]:
    """`answer_alternatives`, normalised; none for None."""
    if reference is None:
        return []
    normalized = [normal_form(alternative) for alternative in answer_alternatives(reference)]
    return list(dict.fromkeys(answer for answer in normalized if answer))


def acceptable_vqa_med_2021_answers(reference: Answer | None) -> list[str]:
    """The normalised answers that a reference of VQA-Med-2021 accepts, "mass|nodule"; none for None."""
    return [answer for part in str(reference or "").split("|") for answer in acceptable_answers(part)]


def acceptable_answers_of(dataset_name: str) -> AcceptableAnswers:
    """The rule by which a data set's references are read: VQA-Med's own for its sets, the package's for all others."""
    own = {"vqa_med_2019": acceptable_vqa_med_answers, "vqa_med_2021": acceptable_vqa_med_2021_answers}
    return own.get(dataset_name, acceptable_answers)


def _with_and_without_options(text: str) -> list[str]:
    # Split at a pattern with one group, texts stand at even places and what the brackets held at odd ones.
    pieces = _OPTIONAL_PART.split(text)
    choices = [(piece, "") if place % 2 else (piece,) for place, piece in enumerate(pieces)]
    return [" ".join(" ".join(chosen).split()) for chosen in itertools.product(*choices)]
