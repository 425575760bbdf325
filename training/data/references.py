"""What a model is trained to say where a reference accepts several answers."""

from ...processing_amif.answer_normalization_amif import normalize_answer


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
