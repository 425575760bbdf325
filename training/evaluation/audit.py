"""What makes a number on a data set worth less than it looks: leaks, conflicts, and answers that need no image."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..data.image_overlap import ImagePrints, near_duplicates, shared_by_id, shared_pixels
from ..data.references import AcceptableAnswers, acceptable_answers, normal_form
from .accuracy import is_yes_no
from .baselines import question_only
from .grouped_accuracy import accuracy_with_interval
from .prediction_rows import Row, prediction_rows

EVALUATED_SPLITS = ("test", "validation")
_ORDER = ("train", "validation", "test")
_MOST_FREQUENT = 10


def audit_splits(
    splits: Mapping[str, Dataset],
    prints: Mapping[str, ImagePrints],
    acceptable: AcceptableAnswers = acceptable_answers,
) -> Row:
    """Audit the splits of one data set.

    Args:
        splits: rows of the package's schema by split; the data's own splits, not one made from another.
        prints: `image_prints` of each split.
        acceptable: how the references are read, as for `prediction_rows`.

    Returns:
        - `splits`: `questions`, `images`, `answered`, `class_balance` and `question_only_ceiling` of each;
        - `shared_images_by_id`, `shared_images_identical` (the same pixels), `shared_images_near` (nearly the same,
          without those of the same pixels), `repeated_pairs` and `repeated_pairs_normalized` (questions about an image
          of the same id that the other split holds too, word for word or normalised). Each has a `count` and
          `by_splits`, where "train/test" holds the `count` and the `items` of test that occur in train. The first
          `count` is that of the evaluated split (test, else validation) in any other;
        - `conflicting_answers`: questions about one image with answers of which none agrees;
        - `unseen_answers`: `count` evaluated questions no answer of which occurs in training, and `ceiling`, the
          accuracy in percent of a system that can give training answers alone. None without answers;
        - `question_only`: accuracy of the most frequent training answer to the same question, `question_only`.

        See docs/evaluation.md.
    """
    evaluated = next((name for name in EVALUATED_SPLITS if name in splits), None)
    return {
        "evaluated_split": evaluated,
        "splits": {name: _split_facts(split, acceptable) for name, split in splits.items()},
        **shared_images(prints, evaluated),
        **_repeated_pairs(splits, evaluated),
        "conflicting_answers": conflicting_answers(splits, acceptable),
        "unseen_answers": _against_training(splits, evaluated, acceptable, unseen_answers),
        "question_only": _against_training(splits, evaluated, acceptable, _question_only_accuracy),
    }


def audit_pair(known: Mapping[str, ImagePrints], evaluated: Mapping[str, ImagePrints], names: tuple[str, str]) -> Row:
    """Audit which images of one data set occur in another that something was trained on.

    Args:
        known: `image_prints` of the splits of the data set to learn from.
        evaluated: those of the data set to evaluate on.
        names: of the two data sets, in this order.

    Returns:
        The three keys of shared images of `audit_splits`; `by_splits` has keys such as "vqa_med_2019 train/vqa_rad
        test". `count` is that of the evaluated split in any split of the other data set.
    """
    known = {f"{names[0]} {split}": prints for split, prints in known.items()}
    split = next((name for name in EVALUATED_SPLITS if name in evaluated), next(iter(evaluated)))
    evaluated = {f"{names[1]} {name}": prints for name, prints in evaluated.items()}
    pairs = list(itertools.product(known, evaluated))
    return _shared_images({**known, **evaluated}, pairs, f"{names[1]} {split}")


def shared_images(prints: Mapping[str, ImagePrints], evaluated: str | None) -> Row:
    """The three keys of shared images of `audit_splits`, for every two splits."""
    return _shared_images(prints, _pairs(prints), evaluated)


def _pairs(splits: Collection[str]) -> list[tuple[str, str]]:
    """Every two splits, the one that is learnt from first; the evaluated one always stands second."""
    others = sorted(set(splits) - set(_ORDER))
    ordered = [name for name in ("train", *others, "validation", "test") if name in splits]
    return list(itertools.combinations(ordered, 2))


def _shared_images(prints: Mapping[str, ImagePrints], pairs: Sequence[tuple[str, str]], evaluated: str | None) -> Row:
    measures = {
        "shared_images_by_id": shared_by_id,
        "shared_images_identical": shared_pixels,
        "shared_images_near": near_duplicates,
    }
    return {
        key: _by_splits({pair: measure(prints[pair[0]], prints[pair[1]]) for pair in pairs}, evaluated)
        for key, measure in measures.items()
    }


def _by_splits(found: Mapping[tuple[str, str], Collection[str]], evaluated: str | None) -> Row:
    of_evaluated = set().union(*(items for pair, items in found.items() if pair[1] == evaluated))
    return {
        "count": len(of_evaluated),
        "by_splits": {"/".join(pair): {"count": len(items), "items": items} for pair, items in found.items()},
    }


def _repeated_pairs(splits: Mapping[str, Dataset], evaluated: str | None) -> Row:
    forms: dict[str, Callable[[str], str]] = {"repeated_pairs": str, "repeated_pairs_normalized": normal_form}
    return {
        key: _by_splits(
            {(known, other): repeated_pairs(splits[known], splits[other], form) for known, other in _pairs(splits)},
            evaluated,
        )
        for key, form in forms.items()
    }


def repeated_pairs(known: Dataset, evaluated: Dataset, form: Callable[[str], str]) -> list[str]:
    """Ids of the questions of `evaluated` that `known` asks too about the image of the same id.

    Args:
        known: rows to learn from.
        evaluated: rows to evaluate on.
        form: what of a question's text is compared.
    """
    pairs = {
        (image_id, form(question))
        for image_id, question in zip(known["image_id"][:], known["question"][:], strict=True)
    }
    columns = (evaluated[name][:] for name in ("question_id", "image_id", "question"))
    return [id_ for id_, image_id, question in zip(*columns, strict=True) if (image_id, form(question)) in pairs]


def conflicting_answers(splits: Mapping[str, Dataset], acceptable: AcceptableAnswers = acceptable_answers) -> Row:
    """Questions about one image, normalised, that are asked twice or more with answers that no answer satisfies.

    Returns:
        `count`, and `items` with `image_id`, `question` and the normalised `answers` of each.
    """
    answers: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
    for split in splits.values():
        columns = (split[name][:] for name in ("image_id", "question", "answer"))
        for image_id, question, answer in zip(*columns, strict=True):
            if right := acceptable(answer):
                answers[image_id, normal_form(question)].append(right)
    items = [
        {"image_id": image_id, "question": question, "answers": sorted({answer[0] for answer in given})}
        for (image_id, question), given in answers.items()
        if not set.intersection(*map(set, given))
    ]
    return {"count": len(items), "items": items}


def unseen_answers(
    training: Dataset, evaluated: Dataset, acceptable: AcceptableAnswers = acceptable_answers
) -> Row | None:
    """How many evaluated questions have no answer that occurs in training: the ceiling of closed vocabularies.

    Returns:
        `count` of `answered` questions, the distinct unseen `answers`, and `ceiling`, the accuracy in percent that a
        system can reach at best if it gives training answers alone. None where no evaluated question has an answer.
    """
    seen = {answer for reference in training["answer"][:] for answer in acceptable(reference)}
    references = [right for reference in evaluated["answer"][:] if (right := acceptable(reference))]
    if not references:
        return None
    unseen = [right for right in references if seen.isdisjoint(right)]
    return {
        "count": len(unseen),
        "answered": len(references),
        "ceiling": 100 * (1 - len(unseen) / len(references)),
        "answers": sorted({right[0] for right in unseen}),
    }


def question_only_ceiling(dataset: Dataset, acceptable: AcceptableAnswers = acceptable_answers) -> float | None:
    """Accuracy in percent of the best answerer that sees the normalised question alone and knows this split's answers.

    It gives each question the answer that is right most often. None without answers. On sets that ask each question
    once it is near 100, and says nothing.
    """
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    answered = 0
    for question, reference in zip(dataset["question"][:], dataset["answer"][:], strict=True):
        if right := set(acceptable(reference)):
            answers[normal_form(question)].update(right)
            answered += 1
    if not answered:
        return None
    return 100 * sum(max(counts.values()) for counts in answers.values()) / answered


def class_balance(dataset: Dataset, acceptable: AcceptableAnswers = acceptable_answers) -> dict[str, Any]:
    """How unevenly answers are spread.

    Returns:
        `distinct` normalised answers; the `most_frequent` with their counts; `yes` and `no`; `evenness`, the entropy of
        the answers over its greatest value, 1 where all are equally frequent.
    """
    first = [right[0] for reference in dataset["answer"][:] if (right := acceptable(reference))]
    counts = Counter(first)
    shares = [count / len(first) for count in counts.values()]
    entropy = -sum(share * math.log(share) for share in shares)
    closed = Counter(answer for answer in first if is_yes_no(answer))
    return {
        "distinct": len(counts),
        "most_frequent": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_FREQUENT]),
        "yes": closed["yes"],
        "no": closed["no"],
        "evenness": entropy / math.log(len(counts)) if len(counts) > 1 else None,
    }


def _split_facts(split: Dataset, acceptable: AcceptableAnswers) -> dict[str, Any]:
    return {
        "questions": len(split),
        "images": len(set(split["image_id"][:])),
        "answered": sum(bool(acceptable(reference)) for reference in split["answer"][:]),
        "class_balance": class_balance(split, acceptable),
        "question_only_ceiling": question_only_ceiling(split, acceptable),
    }


def _against_training(
    splits: Mapping[str, Dataset],
    evaluated: str | None,
    acceptable: AcceptableAnswers,
    measure: Callable[[Dataset, Dataset, AcceptableAnswers], Row | None],
) -> Row | None:
    if evaluated is None or "train" not in splits:
        return None
    return measure(splits["train"], splits[evaluated], acceptable)


def _question_only_accuracy(training: Dataset, evaluated: Dataset, acceptable: AcceptableAnswers) -> Row | None:
    if all(reference is None for reference in training["answer"][:]):
        return None
    return accuracy_with_interval(prediction_rows(evaluated, question_only(training, evaluated), acceptable=acceptable))
