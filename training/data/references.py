"""References: which answers are right.

`normalize_answer` alone says what the normal form of an answer is. `normal_form` is the same for whatever a model may
say: it is empty where `normalize_answer` finds nothing to compare and raises. VQA-Med-2019 writes several right answers
as one reference, `#` between alternatives and optional parts in `(...)`, VQA-Med-2020 and 2021 `|` between them; how
that is read is said here alone, and holds for no other data set: elsewhere "tooth #14" is one answer.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from ...processing_amif.answer_normalization_amif import normalize_answer

Answer = str | int | float

# What the data say is right: one answer, or several of which any is.
Reference = Answer | Sequence[Answer]

# Between the parts of one text that is a set of answers; the normaliser keeps it, unlike commas.
ANSWER_SEPARATOR = " | "

# From a reference to the normalised answers of which any is right.
AcceptableAnswers = Callable[[Reference | None], list[str]]

_OPTIONAL_PART = re.compile(r"\(([^()]*)\)")


def normal_form(text: Reference | None) -> str:
    """`normalize_answer`, but empty where no word or number is left, as in a decoded ".", and for a withheld answer.

    Of several right answers it is that of the first, the one that is learned.
    """
    return "" if text is None else _normal_form(first_answer(text))


# The same answers and questions are compared again and again: as references, by each baseline, by each measure.
@lru_cache(maxsize=1 << 14, typed=True)
def _normal_form(answer: Answer) -> str:
    try:
        return normalize_answer(answer)
    except ValueError:
        return ""


def first_answer(reference: Reference) -> Answer:
    """The one answer, or of several right ones the first: what training teaches, and pre-training pairs say."""
    return reference if isinstance(reference, Answer) else reference[0]


def answers_of(reference: Reference | None) -> Sequence[Answer]:
    """The right answers as the data have them, mostly one; none where it is unknown."""
    if reference is None:
        return []
    return [reference] if isinstance(reference, Answer) else reference


def joined_answers(reference: Reference) -> str:
    """Several answers that are right together as one text, which a text that holds them already stands for too.

    Their normal forms in alphabetical order, each once and `ANSWER_SEPARATOR` between them; empty where there is none.
    """
    parts = (part for answer in answers_of(reference) for part in str(answer).split(ANSWER_SEPARATOR.strip()))
    return ANSWER_SEPARATOR.join(sorted({form for part in parts if (form := normal_form(part))}))


def acceptable_answers(reference: Reference | None) -> list[str]:
    """The normalised right answers, mostly one; none for `None` and where normalising leaves nothing."""
    return list(dict.fromkeys(form for answer in answers_of(reference) if (form := normal_form(answer))))


def answer_alternatives(reference: Reference) -> list[str]:
    """The answers that a reference of VQA-Med-2019 accepts, as the file writes them, with and without optional parts.

    "cta (with contrast)#ct" gives "cta with contrast", "cta" and "ct". Each of several optional parts may be left out
    on its own.
    """
    parts = (part for answer in answers_of(reference) for part in str(answer).split("#"))
    spellings = (spelling for part in parts for spelling in _with_and_without_options(part))
    return list(dict.fromkeys(spelling for spelling in spellings if spelling))


def acceptable_vqa_med_answers(reference: Reference | None) -> list[str]:
    """`answer_alternatives`, normalised; none for None."""
    if reference is None:
        return []
    normalized = [normal_form(alternative) for alternative in answer_alternatives(reference)]
    return list(dict.fromkeys(answer for answer in normalized if answer))


def acceptable_vqa_med_2021_answers(reference: Reference | None) -> list[str]:
    """The normalised answers that a reference of VQA-Med-2021 accepts, "mass|nodule"; none for None."""
    parts = (part for answer in answers_of(reference) for part in str(answer).split("|"))
    return [answer for part in parts for answer in acceptable_answers(part)]


def acceptable_answers_of(dataset_name: str) -> AcceptableAnswers:
    """The rule by which a data set's references are read: VQA-Med's own for its sets, the package's for all others."""
    own = {"vqa_med_2019": acceptable_vqa_med_answers}
    own |= dict.fromkeys(("vqa_med_2020", "vqa_med_2021"), acceptable_vqa_med_2021_answers)
    return own.get(dataset_name, acceptable_answers)


def _with_and_without_options(text: str) -> list[str]:
    # Split at a pattern with one group, texts stand at even places and what the brackets held at odd ones.
    pieces = _OPTIONAL_PART.split(text)
    choices = [(piece, "") if place % 2 else (piece,) for place, piece in enumerate(pieces)]
    return [" ".join(" ".join(chosen).split()) for chosen in itertools.product(*choices)]
