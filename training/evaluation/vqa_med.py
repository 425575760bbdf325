"""VQA-Med-2019's own measures: strict accuracy and BLEU."""

import string

from sacrebleu.metrics import BLEU

from ..data.references import Answer, answer_alternatives

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Answers are often shorter than four words: the orders that an answer has are averaged, those beyond are left out.
_BLEU4 = BLEU(tokenize="none", smooth_method="none", effective_order=True)


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
