"""Overlap of an answer's words with those of its reference: BLEU by sacrebleu, and F1."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from ..data.references import (
    AcceptableAnswers,
    Answer,
    Reference,
    acceptable_answers,
    acceptable_answers_of,
    normal_form,
)
from .grouped_accuracy import mean_with_interval
from .prediction_rows import Prediction
from .results import Interval, Result

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU


@dataclass(frozen=True)
class TextOverlap(Result):
    """Overlap of words in percent, for answers that are more than one of a list; None without references."""

    bleu1: Interval | None
    token_f1: Interval | None


def text_overlap(rows: Sequence[Prediction], dataset_name: str) -> TextOverlap:
    """`bleu1` and `token_f1`, means over the questions."""
    rules = [acceptable_answers_of(row.dataset_name or dataset_name) for row in rows]
    pairs = [_normalized(row.prediction, row.answer, rule) for row, rule in zip(rows, rules, strict=True)]
    bleu, f1 = ([_best(overlap, pair) for pair in pairs] for overlap in (_bleu1, _f1))
    return TextOverlap(mean_with_interval(rows, bleu, "score"), mean_with_interval(rows, f1, "score"))


def bleu1(
    prediction: Answer | None, reference: Reference | None, acceptable: AcceptableAnswers = acceptable_answers
) -> float | None:
    """Clipped precision of the answer's words times the brevity penalty, for the acceptable answer that fits best.

    Both sides are normalised and split at white space. The mean over questions is the figure to report: it weighs
    every question alike, where BLEU of the whole corpus weighs long answers more.

    Args:
        prediction: The answer given, None where it was withheld.
        reference: The answer asked for.
        acceptable: From the reference to the normalised answers of which any is right.

    Returns:
        Between 0 and 1; None without a reference.

    Source: Papineni et al., BLEU, 2002, with n-grams of order 1 alone.
    """
    return _best(_bleu1, _normalized(prediction, reference, acceptable))


def token_f1(
    prediction: Answer | None, reference: Reference | None, acceptable: AcceptableAnswers = acceptable_answers
) -> float | None:
    """Harmonic mean of the precision and recall of words, of the acceptable answer that fits best.

    A word counts as often as it occurs in both. Arguments and result are those of `bleu1`.

    Source: Rajpurkar et al., SQuAD, 2016, section 6.1; articles are kept here, as in the accuracy.
    """
    return _best(_f1, _normalized(prediction, reference, acceptable))


def _normalized(
    prediction: Answer | None, reference: Reference | None, acceptable: AcceptableAnswers
) -> tuple[str, list[str]] | None:
    """The answer and those of which any is right; None without a reference."""
    return None if reference is None else (normal_form(prediction), acceptable(reference))


def _best(overlap: Callable[[str, str], float], pair: tuple[str, list[str]] | None) -> float | None:
    if pair is None:
        return None
    answer, acceptable = pair
    return max((overlap(answer, right) for right in acceptable), default=0.0)


def _bleu1(answer: str, right: str) -> float:
    return sentence_bleu(answer, right, 1)


def _f1(answer: str, right: str) -> float:
    words, expected = answer.split(), right.split()
    common = (Counter(words) & Counter(expected)).total()
    return 2 * common / (len(words) + len(expected))


# The same few answers meet the same references again and again.
@lru_cache(maxsize=1 << 14)
def sentence_bleu(answer: str, right: str, max_order: int) -> float:
    """BLEU of one answer, between 0 and 1: n-grams up to `max_order`, as far as it has so many, without smoothing."""
    return _bleu(max_order).sentence_score(answer, [right]).score / 100


@cache
def _bleu(max_order: int) -> "BLEU":
    # Here, because it is slow to import, and most of what imports this file needs no BLEU.
    from sacrebleu.metrics.bleu import BLEU

    # Answers are often shorter than four words: the orders that an answer has are averaged, those beyond are left out.
    return BLEU(max_ngram_order=max_order, tokenize="none", smooth_method="none", effective_order=True)
