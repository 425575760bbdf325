"""What a system scores that never sees an image: the numbers to print beside every result."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from operator import itemgetter

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers.utils import logging

from ..data.names import NUM_FOLDS
from ..data.references import AcceptableAnswers, acceptable_answers, normal_form
from ..data.schema import KIND_COLUMNS, kind_columns, kind_of
from ..data.splits import split_fold
from .grouped_accuracy import mean_with_interval
from .prediction_rows import Prediction, prediction_rows
from .protocols import known_splits
from .results import Interval

logger = logging.get_logger(__name__)

CROSS_FITTED = (
    "Baselines: no other split is there to learn from, so each question is answered from the evaluated questions about "
    "other images, in five folds."
)

QuestionRow = Mapping[str, str | None]
Key = Callable[[QuestionRow], Hashable]


def _text_rows(dataset: Dataset) -> list[QuestionRow]:
    # Decoding images only to ignore them would dominate the time.
    wanted = ("question", "answer", "question_type", "template", *KIND_COLUMNS)
    return dataset.select_columns([name for name in wanted if name in dataset.column_names]).to_list()


def _question_type(row: QuestionRow) -> str | None:
    return row.get("question_type")


def _question(row: QuestionRow) -> str:
    return row.get("template") or normal_form(row["question"])


def _first_two_words(row: QuestionRow) -> str:
    return " ".join(normal_form(row["question"]).split()[:2])


def _answer_table(rows: list[QuestionRow], key: Key) -> dict[Hashable, str]:
    """The most frequent normalised answer of each value of `key`; equal counts are settled alphabetically."""
    counts: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if (value := key(row)) is not None:
            counts[value].update(acceptable_answers(row["answer"]))
    return {
        value: min(answers, key=lambda answer, answers=answers: (-answers[answer], answer))
        for value, answers in counts.items()
        if answers
    }


# By the question alone, and by its type alone.
_BY_QUESTION: list[Key] = [_question, _first_two_words, _question_type]
_BY_TYPE: list[Key] = [_question_type]


def _by_question_and_kind(training: list[QuestionRow]) -> list[Key]:
    columns = kind_columns(training)

    def question_about_kind(row: QuestionRow) -> tuple | None:
        kind = kind_of(row, columns)
        return None if kind is None else (kind, _question(row))

    return [question_about_kind, *_BY_QUESTION]


def _predict(training: list[QuestionRow], evaluation: list[QuestionRow], keys: list[Key]) -> list[str]:
    """For each evaluated question the answer of the first of `keys` whose value occurs in training."""
    # The last key is that of every question: the most frequent answer of all.
    tables = [(key, _answer_table(training, key)) for key in (*keys, lambda row: "")]
    if not tables[-1][1]:
        raise ValueError("A baseline needs training answers, and the training rows have none.")
    return [next(table[value] for key, table in tables if (value := key(row)) in table) for row in evaluation]


def most_frequent_by_question_type(training: Dataset, evaluation: Dataset) -> list[str]:
    """Answer every question with the most frequent training answer of its question type.

    Args:
        training: Rows of the package's schema whose answers may be known; rows without an answer teach nothing.
        evaluation: Rows to answer. A question type that is None or new gets training's most frequent answer.

    Returns:
        One normalised answer per row of `evaluation`, in its order.

    Raises:
        ValueError: If `training` has no answers.
    """
    return _predict(_text_rows(training), _text_rows(evaluation), _BY_TYPE)


def question_only(training: Dataset, evaluation: Dataset) -> list[str]:
    """Answer every question with the most frequent training answer to the same question, whatever the image.

    The same question is the same `template` where the data have that column, else the same normalised text. A question
    that training does not hold falls back to its first two words, then to its question type, then to the most frequent
    answer of all. Arguments, result and errors are those of `most_frequent_by_question_type`.
    """
    return _predict(_text_rows(training), _text_rows(evaluation), _BY_QUESTION)


def question_and_kind(training: Dataset, evaluation: Dataset) -> list[str]:
    """Answer with the most frequent training answer to the same question about images of the same modality and organ.

    What an image's kind gives away beside the question: such a system is told it and sees nothing. Where training names
    only one of modality and organ, that is the kind. A question that training does not hold about that kind, or whose
    image's kind is not known, is answered as by `question_only`. Arguments, result and errors are those of
    `most_frequent_by_question_type`.
    """
    known = _text_rows(training)
    return _predict(known, _text_rows(evaluation), _by_question_and_kind(known))


def split_baselines(
    splits: DatasetDict, split: str, acceptable: AcceptableAnswers = acceptable_answers
) -> tuple[dict[str, list[Prediction]], str | None]:
    """`baseline_rows` of a split, learnt from other splits or, where none may be known, from its own other images.

    Args:
        splits: Rows of the package's schema.
        split: The evaluated one.
        acceptable: How its references are read.

    Returns:
        The baselines, none where there is nothing to learn from, and a sentence to print beside those that learn from
        the evaluated split; None beside others.
    """
    known = known_splits(splits, split) if split in ("validation", "test") else []
    if any(answer is not None for rows in known for answer in rows["answer"]):
        return baseline_rows(concatenate_datasets(known), splits[split], acceptable), None
    rows = cross_fitted_baseline_rows(splits[split], acceptable)
    return rows, CROSS_FITTED if rows else None


def cross_fitted_baseline_rows(
    dataset: Dataset, acceptable: AcceptableAnswers = acceptable_answers
) -> dict[str, list[Prediction]]:
    """`baseline_rows` of questions about a fifth of the images, learnt from those about the others, five times over.

    Args:
        dataset: Rows of the package's schema.
        acceptable: How the references are read.

    Returns:
        As `baseline_rows`; empty, and said why, where answers are known of fewer than five images or lie in one fold.
    """
    images = dataset["image_id"][:]
    known = {image for image, answer in zip(images, dataset["answer"][:], strict=True) if answer is not None}
    if not known:
        return {}
    parts: dict[str, list[Prediction]] = defaultdict(list)
    places: list[int] = []
    try:
        for fold in range(1, NUM_FOLDS + 1):
            training, evaluated = split_fold(dataset, fold, seed=0)
            held_out = {*evaluated["image_id"][:]}
            places += [place for place, image in enumerate(images) if image in held_out]
            for name, rows in baseline_rows(training, evaluated, acceptable).items():
                parts[name] += rows
    except ValueError:
        logger.info(f"No baselines: there is nothing else to learn them from, and {len(known)} images have answers.")
        return {}
    # always_no answers some questions alone, the others every one.
    return {
        name: [row for _, row in sorted(zip(places, rows, strict=True), key=itemgetter(0))]
        if len(rows) == len(places)
        else rows
        for name, rows in parts.items()
    }


def baseline_rows(
    training: Dataset, evaluation: Dataset, acceptable: AcceptableAnswers = acceptable_answers
) -> dict[str, list[Prediction]]:
    """The scored answers of systems that see no image.

    Args:
        training: Rows whose answers may be known (concatenate `known_splits`).
        evaluation: The evaluated rows.
        acceptable: How the references are read, as for `prediction_rows`.

    Returns:
        `prediction_rows` of `most_frequent_by_question_type`, `question_only` and, where the data name modality or
        organ, `question_and_kind` for all questions in their order; and of `always_no` for those whose reference is
        exactly yes or no.
    """
    known, asked = _text_rows(training), _text_rows(evaluation)
    answers = {
        "most_frequent_by_question_type": _predict(known, asked, _BY_TYPE),
        "question_only": _predict(known, asked, _BY_QUESTION),
        "always_no": ["no"] * len(evaluation),
    }
    if kind_columns([*known, *asked]):
        answers["question_and_kind"] = _predict(known, asked, _by_question_and_kind(known))
    rows = {name: prediction_rows(evaluation, given, acceptable=acceptable) for name, given in answers.items()}
    rows["always_no"] = [row for row in rows["always_no"] if row.yes_no]
    return rows


def chance(rows: Sequence[Prediction]) -> Interval | None:
    """Accuracy in percent of drawing one of each question's own choices, normalised: the mean of 1 / their number."""
    forms = [{normal_form(choice) for choice in row.choices or ()} for row in rows]
    shares = [
        None if row.correct is None or not own else len(own.intersection(acceptable_answers(row.answer))) / len(own)
        for row, own in zip(rows, forms, strict=True)
    ]
    return mean_with_interval(rows, shares, "accuracy")
