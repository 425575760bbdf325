"""Whether an answer is right, and whether a question is of yes or no."""

from ..data.references import AcceptableAnswers, Answer, acceptable_answers, normal_form


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
