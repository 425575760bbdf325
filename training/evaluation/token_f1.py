"""Token F1 of an answer: how many of its words are the reference's, and the other way round."""

from collections import Counter

from .accuracy import AcceptableAnswers, Answer, acceptable_answers, normal_form


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
