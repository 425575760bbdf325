"""VQA-Med-2019's own measures: strict accuracy and BLEU."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from ..data.references import Answer, Reference, answer_alternatives
from .grouped_accuracy import mean_with_interval
from .prediction_rows import Prediction
from .results import Interval, Result
from .text_overlap import sentence_bleu

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class VqaMedMeasures(Result):
    """The task's own measures in percent; None without references."""

    strict_accuracy: Interval | None
    bleu: Interval | None


def vqa_med_measures(rows: Sequence[Prediction]) -> VqaMedMeasures:
    """`strict_match` and `task_bleu`, means over the questions."""
    strict = [strict_match(row.prediction, row.answer) for row in rows]
    bleu = [task_bleu(row.prediction, row.answer) for row in rows]
    return VqaMedMeasures(mean_with_interval(rows, strict, "accuracy"), mean_with_interval(rows, bleu, "score"))


def strict_match(prediction: Answer | None, reference: Reference | None) -> bool | None:
    """Whether the words are those of one alternative, in lower case and without punctuation; None without reference."""
    if reference is None:
        return None
    return _plain_words(prediction) in [_plain_words(alternative) for alternative in answer_alternatives(reference)]


def task_bleu(prediction: Answer | None, reference: Reference | None) -> float | None:
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
    answer = " ".join(_plain_words(prediction))
    references = [" ".join(_plain_words(alternative)) for alternative in answer_alternatives(reference)]
    return max((sentence_bleu(answer, text, 4) for text in references), default=0.0)


def _plain_words(text: Answer | None) -> list[str]:
    return ("" if text is None else str(text)).lower().translate(_WITHOUT_PUNCTUATION).split()
