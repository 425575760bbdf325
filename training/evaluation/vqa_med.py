"""VQA-Med-2019's own rules: which answers a reference accepts, strict accuracy and BLEU."""

import itertools
import re
import string

from sacrebleu.metrics import BLEU

from ..data.references import AcceptableAnswers, Answer, acceptable_answers, normal_form

_OPTIONAL_PART = re.compile(r"\(([^()]*)\)")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Answers are often shorter than four words: the orders that an answer has are averaged, those beyond are left out.
_BLEU4 = BLEU(tokenize="none", smooth_method="none", effective_order=True)


def answer_alternatives(reference: Answer) -> list[str]:
    """The answers that a reference accepts, as the file writes them: `#` parts alternatives, `(...)` may be left out.

    "cta (with contrast)#ct" gives "cta with contrast", "cta" and "ct". Each of several optional parts may be left out
    on its own.
    """
    alternatives = (spelling for part in str(reference).split("#") for spelling in _with_and_without_options(part))
    return list(dict.fromkeys(alternative for alternative in alternatives if alternative))


def _with_and_without_options(text: str) -> list[str]:
    # Split at a pattern with one group, texts stand at even places and what the brackets held at odd ones.
    pieces = _OPTIONAL_PART.split(text)
    choices = [(piece, "") if place % 2 else (piece,) for place, piece in enumerate(pieces)]
    return [" ".join(" ".join(chosen).split()) for chosen in itertools.product(*choices)]


def acceptable_vqa_med_answers(reference: Answer | None) -> list[str]:
    """`answer_alternatives`, normalised; none for None."""
    if reference is None:
        return []
    normalized = [normal_form(alternative) for alternative in answer_alternatives(reference)]
    return list(dict.fromkeys(answer for answer in normalized if answer))


def acceptable_answers_of(dataset_name: str) -> AcceptableAnswers:
    """The rule by which a data set's references are read: VQA-Med-2019's own for it, the package's for the others."""
    return acceptable_vqa_med_answers if dataset_name == "vqa_med_2019" else acceptable_answers


def strict_match(prediction: Answer | None, reference: Answer | None) -> bool | None:
    """Whether the words are those of one alternative, in lower case and without punctuation; None without reference."""
    if reference is None:
        return None
    return _words(prediction) in [_words(alternative) for alternative in answer_alternatives(reference)]


def task_bleu(prediction: Answer | None, reference: Answer | None) -> float | None:
    """BLEU of the words, in lower case and without punctuation, against the alternative that fits best.

    N-grams up to four words, as far as the answer has so many, without smoothing. The organisers' script also drops
    stop words and stems, with lists and rules of its library at the time, which is not repeated here: figures can
    differ from theirs.

    Returns:
        Between 0 and 1; None without a reference.

    Source: Ben Abacha et al., VQA-Med: Overview of the Medical Visual Question Answering Task at ImageCLEF 2019.
    """
    if reference is None:
        return None
    answer = " ".join(_words(prediction))
    references = [" ".join(_words(alternative)) for alternative in answer_alternatives(reference)]
    return max((_BLEU4.sentence_score(answer, [text]).score for text in references), default=0.0) / 100


def _words(text: Answer | None) -> list[str]:
    return ("" if text is None else str(text)).lower().translate(_WITHOUT_PUNCTUATION).split()
