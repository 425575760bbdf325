"""Whether an answer is right, and whether a question is of yes or no."""

from ..data.references import (
    ANSWER_SEPARATOR,
    AcceptableAnswers,
    Answer,
    Reference,
    acceptable_answers,
    joined_answers,
    normal_form,
)


def is_correct(
    prediction: Answer | None, reference: Reference | None, acceptable: AcceptableAnswers = acceptable_answers
) -> bool | None:
    """Whether the normalised prediction is an acceptable answer; `None` where there is no reference to say so.

    A withheld answer (`None`) is not right. The order of what `joined_answers` joins does not count.
    """
    if reference is None:
        return None
    form, right = normal_form(prediction), acceptable(reference)
    return form in right or (ANSWER_SEPARATOR in form and joined_answers(form) in right)


def is_yes_no(reference: Reference | None) -> bool | None:
    """The paper's closed question: its normalised reference is exactly yes or no; `None` without a reference.

    Of several right answers the first says it.
    """
    if reference is None:
        return None
    return normal_form(reference) in ("yes", "no")
