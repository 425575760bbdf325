"""BLEU-1 of an answer, by sacrebleu."""

from collections import Counter

from sacrebleu.metrics import BLEU

from ..data.references import AcceptableAnswers, Answer, acceptable_answers, normal_form

_BLEU1 = BLEU(max_ngram_order=1, tokenize="none", smooth_method="none", effective_order=True)


def bleu1(
    prediction: Answer | None, reference: Answer | None, acceptable: AcceptableAnswers = acceptable_answers
) -> float | None:
    """Clipped precision of the answer's words times the brevity penalty, for the acceptable answer that fits best.

    Both sides are normalised and split at white space. The mean over questions is the figure to report: it weighs
    every question alike, where BLEU of the whole corpus weighs long answers more.

    Args:
        prediction: the answer given, None where it was withheld.
        reference: the answer asked for.
        acceptable: from the reference to the normalised answers of which any is right.

    Returns:
        Between 0 and 1; None without a reference.

    Source: Papineni et al., BLEU, 2002, with n-grams of order 1 alone.
    """
    if reference is None:
        return None
    answer = normal_form(prediction)
    return max((_BLEU1.sentence_score(answer, [right]).score for right in acceptable(reference)), default=0.0) / 100


def token_f1(
    prediction: Answer | None, reference: Answer | None, acceptable: AcceptableAnswers = acceptable_answers
) -> float | None:
    """Harmonic mean of the precision and recall of words, of the acceptable answer that fits best.

    Both sides are normalised and split at white space; a word counts as often as it occurs in both.

    Args:
        prediction: the answer given, None where it was withheld.
        reference: the answer asked for.
        acceptable: from the reference to the normalised answers of which any is right.

    Returns:
        Between 0 and 1; None without a reference.

    Source: Rajpurkar et al., SQuAD, 2016, section 6.1; articles are kept here, as in the accuracy.
    """
    if reference is None:
        return None
    words = normal_form(prediction).split()
    return max((_f1(words, answer.split()) for answer in acceptable(reference)), default=0.0)


def _f1(words: list[str], expected: list[str]) -> float:
    common = (Counter(words) & Counter(expected)).total()
    return 2 * common / (len(words) + len(expected))
