"""What makes a number on a data set worth less than it looks: leaks, conflicts, and answers that need no image."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from datasets import Dataset

from ..data.image_overlap import ImagePrints, near_duplicates, shared_by_id, shared_pixels
from ..data.references import AcceptableAnswers, acceptable_answers, normal_form
from .baselines import question_only
from .correctness import is_yes_no
from .grouped_accuracy import accuracy_with_interval
from .prediction_rows import prediction_rows
from .results import Interval, Result

EVALUATED_SPLITS = ("test", "validation")
_ORDER = ("train", "validation", "test")
_MOST_FREQUENT = 10


@dataclass(frozen=True)
class SharedItems(Result):
    """What of one split occurs in another: how many items, and their ids, if known by those that they are like."""

    count: int
    items: Collection[str]


@dataclass(frozen=True)
class Shared(Result):
    """What splits share.

    Attributes:
        count: How much of the evaluated split occurs in any other.
        by_splits: By two splits, such as "train/test", what of the second occurs in the first.
    """

    count: int
    by_splits: dict[str, SharedItems]


@dataclass(frozen=True)
class SharedImages(Result):
    """Images that splits share.

    Attributes:
        shared_images_by_id: Of the same id.
        shared_images_identical: Of the same pixels.
        shared_images_near: Of nearly the same pixels, without those of the same.
    """

    shared_images_by_id: Shared
    shared_images_identical: Shared
    shared_images_near: Shared


@dataclass(frozen=True)
class Conflict(Result):
    """A normalised question about one image, and its normalised answers, of which none satisfies all askings."""

    image_id: str
    question: str
    answers: list[str]


@dataclass(frozen=True)
class Conflicts(Result):
    """The questions about one image with answers of which none agrees."""

    count: int
    items: list[Conflict]


@dataclass(frozen=True)
class UnseenAnswers(Result):
    """Evaluated questions no answer of which occurs in training.

    Attributes:
        count: Of them.
        answered: Evaluated questions that have an answer.
        ceiling: Accuracy in percent that a system can reach at best if it gives training answers alone.
        answers: The distinct unseen ones.
    """

    count: int
    answered: int
    ceiling: float
    answers: list[str]


@dataclass(frozen=True)
class ClassBalance(Result):
    """How unevenly answers are spread.

    Attributes:
        distinct: Normalised answers.
        most_frequent: These answers with their counts.
        yes: Answers that are exactly yes.
        no: Answers that are exactly no.
        evenness: Entropy of the answers over its greatest value, 1 where all are equally frequent; None where there
            are not two.
    """

    distinct: int
    most_frequent: dict[str, int]
    yes: int
    no: int
    evenness: float | None


@dataclass(frozen=True)
class SplitFacts(Result):
    """What one split holds: questions, images, questions with an answer, and how much its questions give away."""

    questions: int
    images: int
    answered: int
    class_balance: ClassBalance
    question_only_ceiling: float | None


@dataclass(frozen=True)
class Audit(Result):
    """The audit of one data set; see docs/evaluation.md.

    Attributes:
        evaluated_split: Test, else validation, else None.
        splits: What each split holds.
        shared_images: Images that splits share.
        repeated_pairs: Questions about an image of the same id that the other split holds too, word for word.
        repeated_pairs_normalized: The same with questions normalised.
        conflicting_answers: Questions about one image with answers of which none agrees.
        unseen_answers: None without answers or training split.
        question_only: Accuracy of the baseline `question_only`; None without training answers or evaluated ones.
    """

    evaluated_split: str | None
    splits: dict[str, SplitFacts]
    shared_images: SharedImages
    repeated_pairs: Shared
    repeated_pairs_normalized: Shared
    conflicting_answers: Conflicts
    unseen_answers: UnseenAnswers | None
    question_only: Interval | None

    def json_fields(self) -> Mapping[str, object]:
        """The fields by name; those of `shared_images` stand among them."""
        content: dict[str, object] = {}
        for name, value in super().json_fields().items():
            content |= self.shared_images.json_fields() if name == "shared_images" else {name: value}
        return content


def audit_splits(
    splits: Mapping[str, Dataset],
    prints: Mapping[str, ImagePrints],
    acceptable: AcceptableAnswers = acceptable_answers,
) -> Audit:
    """Audit the splits of one data set.

    Args:
        splits: Rows of the package's schema by split; the data's own splits, not one made from another.
        prints: `image_prints` of each split.
        acceptable: How the references are read, as for `prediction_rows`.
    """
    evaluated = next((name for name in EVALUATED_SPLITS if name in splits), None)
    asked = None if evaluated is None else splits[evaluated]
    unseen, question_only_accuracy = _against_training(splits.get("train"), asked, acceptable)
    return Audit(
        evaluated_split=evaluated,
        splits={name: split_facts(split, acceptable) for name, split in splits.items()},
        shared_images=shared_images(prints, evaluated),
        repeated_pairs=_repeated_pairs(splits, evaluated, str),
        repeated_pairs_normalized=_repeated_pairs(splits, evaluated, normal_form),
        conflicting_answers=conflicting_answers(splits, acceptable),
        unseen_answers=unseen,
        question_only=question_only_accuracy,
    )


def audit_pair(
    known: Mapping[str, ImagePrints], evaluated: Mapping[str, ImagePrints], names: tuple[str, str]
) -> SharedImages:
    """Audit which images of one data set occur in another that something was trained on.

    Args:
        known: `image_prints` of the splits of the data set to learn from.
        evaluated: Those of the data set to evaluate on.
        names: Of the two data sets, in this order.

    Returns:
        What they share; `by_splits` has keys such as "vqa_med_2019 train/vqa_rad test", and `count` is that of the
        evaluated split in any split of the other data set.
    """
    known = {f"{names[0]} {split}": prints for split, prints in known.items()}
    split = next((name for name in EVALUATED_SPLITS if name in evaluated), next(iter(evaluated)))
    evaluated = {f"{names[1]} {name}": prints for name, prints in evaluated.items()}
    pairs = list(itertools.product(known, evaluated))
    return _shared_images({**known, **evaluated}, pairs, f"{names[1]} {split}")


def shared_images(prints: Mapping[str, ImagePrints], evaluated: str | None) -> SharedImages:
    """Images that every two splits share."""
    return _shared_images(prints, _pairs(prints), evaluated)


def _pairs(splits: Collection[str]) -> list[tuple[str, str]]:
    """Every two splits, the one that is learnt from first; the evaluated one always stands second."""
    others = sorted(set(splits) - set(_ORDER))
    ordered = [name for name in ("train", *others, "validation", "test") if name in splits]
    return list(itertools.combinations(ordered, 2))


def _shared_images(
    prints: Mapping[str, ImagePrints], pairs: Sequence[tuple[str, str]], evaluated: str | None
) -> SharedImages:
    return SharedImages(
        *(
            _by_splits({pair: measure(prints[pair[0]], prints[pair[1]]) for pair in pairs}, evaluated)
            for measure in (shared_by_id, shared_pixels, near_duplicates)
        )
    )


def _by_splits(found: Mapping[tuple[str, str], Collection[str]], evaluated: str | None) -> Shared:
    of_evaluated = {item for pair, items in found.items() if pair[1] == evaluated for item in items}
    return Shared(len(of_evaluated), {"/".join(pair): SharedItems(len(items), items) for pair, items in found.items()})


def _repeated_pairs(splits: Mapping[str, Dataset], evaluated: str | None, form: Callable[[str], str]) -> Shared:
    found = {(known, other): repeated_pairs(splits[known], splits[other], form) for known, other in _pairs(splits)}
    return _by_splits(found, evaluated)


def repeated_pairs(known: Dataset, evaluated: Dataset, form: Callable[[str], str]) -> list[str]:
    """Ids of the questions of `evaluated` that `known` asks too about the image of the same id.

    Args:
        known: Rows to learn from.
        evaluated: Rows to evaluate on.
        form: What of a question's text is compared.
    """
    pairs = {
        (image_id, form(question))
        for image_id, question in zip(known["image_id"][:], known["question"][:], strict=True)
    }
    columns = (evaluated[name][:] for name in ("question_id", "image_id", "question"))
    return [id_ for id_, image_id, question in zip(*columns, strict=True) if (image_id, form(question)) in pairs]


def conflicting_answers(splits: Mapping[str, Dataset], acceptable: AcceptableAnswers = acceptable_answers) -> Conflicts:
    """Questions about one image, normalised, that are asked twice or more with answers that no answer satisfies."""
    answers: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
    for split in splits.values():
        columns = (split[name][:] for name in ("image_id", "question", "answer"))
        for image_id, question, answer in zip(*columns, strict=True):
            if right := acceptable(answer):
                answers[image_id, normal_form(question)].append(right)
    items = [
        Conflict(image_id, question, sorted({answer[0] for answer in given}))
        for (image_id, question), given in answers.items()
        if not set.intersection(*map(set, given))
    ]
    return Conflicts(len(items), items)


def unseen_answers(
    training: Dataset, evaluated: Dataset, acceptable: AcceptableAnswers = acceptable_answers
) -> UnseenAnswers | None:
    """The ceiling of closed vocabularies; None where no evaluated question has an answer."""
    seen = {answer for reference in training["answer"][:] for answer in acceptable(reference)}
    references = [right for reference in evaluated["answer"][:] if (right := acceptable(reference))]
    if not references:
        return None
    unseen = [right for right in references if seen.isdisjoint(right)]
    return UnseenAnswers(
        count=len(unseen),
        answered=len(references),
        ceiling=100 * (1 - len(unseen) / len(references)),
        answers=sorted({right[0] for right in unseen}),
    )


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


def class_balance(dataset: Dataset, acceptable: AcceptableAnswers = acceptable_answers) -> ClassBalance:
    """How unevenly a split's answers are spread."""
    first = [right[0] for reference in dataset["answer"][:] if (right := acceptable(reference))]
    counts = Counter(first)
    shares = [count / len(first) for count in counts.values()]
    entropy = -sum(share * math.log(share) for share in shares)
    closed = Counter(answer for answer in first if is_yes_no(answer))
    return ClassBalance(
        distinct=len(counts),
        most_frequent=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_FREQUENT]),
        yes=closed["yes"],
        no=closed["no"],
        evenness=entropy / math.log(len(counts)) if len(counts) > 1 else None,
    )


def split_facts(split: Dataset, acceptable: AcceptableAnswers = acceptable_answers) -> SplitFacts:
    """What one split holds, and how much its questions give away."""
    return SplitFacts(
        questions=len(split),
        images=len(set(split["image_id"][:])),
        answered=sum(bool(acceptable(reference)) for reference in split["answer"][:]),
        class_balance=class_balance(split, acceptable),
        question_only_ceiling=question_only_ceiling(split, acceptable),
    )


def _against_training(
    training: Dataset | None, evaluated: Dataset | None, acceptable: AcceptableAnswers
) -> tuple[UnseenAnswers | None, Interval | None]:
    """What of the evaluated answers training does not know, and the accuracy of `question_only`."""
    if training is None or evaluated is None:
        return None, None
    unseen = unseen_answers(training, evaluated, acceptable)
    if all(reference is None for reference in training["answer"][:]):
        return unseen, None
    answers = question_only(training, evaluated)
    return unseen, accuracy_with_interval(prediction_rows(evaluated, answers, acceptable=acceptable))
