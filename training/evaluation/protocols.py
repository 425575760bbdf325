"""Which answers a system may choose from, and know, when it is evaluated on a split."""

from collections import Counter

from datasets import Dataset, DatasetDict

from ..data.mixtures import right_answers
from ..data.names import ANSWERING_PROTOCOLS
from ..data.references import AcceptableAnswers, acceptable_answers

_NOTES = {
    "clean": "Candidates and knowledge come from the answers of other splits, never from those of the evaluated one.",
    "paper": "The candidates are the distinct answers of the evaluated split, so every right answer is among them: "
    "this is the published protocol, and it is easier than answering.",
    "choices": "The candidates of a question are its own choices, as the data name them; chance is the mean of 1 / "
    "their number.",
    "generate": "Answers are decoded freely, without candidates.",
    "unstated": "The predictions came in a file, and what their system could choose from is not known here.",
}

# On validation a checkpoint is chosen, so validation answers stay unseen; on test they may be used.
_KNOWN_SPLITS = {"validation": ("train",), "test": ("train", "validation")}


def protocol_note(protocol: str) -> str:
    """The sentence to print beside every number of `protocol`.

    Raises:
        ValueError: If the protocol is not one of `names.PROTOCOLS`.
    """
    if protocol not in _NOTES:
        raise ValueError(f"Unknown protocol {protocol!r}; it is one of {', '.join(_NOTES)}.")
    return _NOTES[protocol]


def known_splits(splits: DatasetDict, eval_split: str) -> list[Dataset]:
    """The splits whose answers may be used when `eval_split` is evaluated: train, and for test validation too.

    Raises:
        ValueError: If `eval_split` is neither "validation" nor "test".
    """
    if eval_split not in _KNOWN_SPLITS:
        raise ValueError(f"Evaluate on one of {', '.join(_KNOWN_SPLITS)}, not on {eval_split!r}.")
    return [splits[name] for name in _KNOWN_SPLITS[eval_split] if name in splits]


def distinct_answers(*datasets: Dataset, acceptable: AcceptableAnswers = acceptable_answers) -> list[str]:
    """Distinct normalised values of the `answer` columns, by falling frequency, then alphabetically."""
    counts = Counter(
        answer for dataset in datasets for answers in right_answers(dataset, acceptable) for answer in answers
    )
    return sorted(counts, key=lambda answer: (-counts[answer], answer))


def knowledge_answers(splits: DatasetDict, eval_split: str) -> list[str]:
    """Answers that the knowledge of a model evaluated on `eval_split` may hold, in the order of `distinct_answers`.

    While a checkpoint is being chosen on validation these are the training answers; the checkpoint that is evaluated
    on test may know those of validation too.

    Raises:
        ValueError: If `eval_split` is neither "validation" nor "test", or nothing is known.
    """
    answers = distinct_answers(*known_splits(splits, eval_split))
    if not answers:
        raise ValueError(
            f"No split that may be known when {eval_split} is evaluated has answers to choose from: give the data set "
            "that has them, set the answers of the checkpoint's processor, or decode freely (protocol generate)."
        )
    return answers


def candidate_answers(
    protocol: str, splits: DatasetDict, eval_split: str, acceptable: AcceptableAnswers = acceptable_answers
) -> list[str] | None:
    """Candidates of all questions under a protocol, in the order of `distinct_answers`; None where there are none.

    Args:
        protocol: "clean" (the answers of `knowledge_answers`), "paper" (the evaluated split's own answers), "choices"
            (each question's own, so that there is no list of all) or "generate" (none).
        splits: Rows of the package's schema.
        eval_split: "validation" or "test".
        acceptable: How the references of the evaluated split are read, as for `prediction_rows`.

    Raises:
        ValueError: If the protocol is unknown, or the answers that it needs are not there.
    """
    if protocol not in ANSWERING_PROTOCOLS:
        raise ValueError(f"Answer under one of the protocols {', '.join(ANSWERING_PROTOCOLS)}, not {protocol!r}.")
    if protocol == "choices":
        check_choices_given(splits[eval_split], eval_split)
    if protocol in ("choices", "generate"):
        return None
    if protocol == "clean":
        return knowledge_answers(splits, eval_split)
    answers = distinct_answers(splits[eval_split], acceptable=acceptable)
    if not answers:
        raise ValueError(
            f"The paper protocol takes its candidates from the answers of the {eval_split} split, and these are not "
            "available. Use the clean protocol."
        )
    return answers


def check_choices_given(rows: Dataset, split: str) -> None:
    """Make sure that each question has choices of its own, as the protocol "choices" needs.

    Raises:
        ValueError: If some have none.
    """
    choices = rows["choices"] if "choices" in rows.column_names else [None] * len(rows)
    without = [row for row, own in enumerate(choices) if not own]
    if without:
        raise ValueError(
            f"The protocol choices is about each question's own, and {len(without)} of {len(rows)} {split} questions "
            f"have none, the first of them row {without[0]} (counted from 0): give them in a column choices, or in "
            "columns A, B and so on, or take another protocol."
        )
