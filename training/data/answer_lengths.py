"""Answers that the decoder has too few positions for: bad rows, found before anything is trained."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from datasets import Dataset, DatasetDict

from .readers.bad_rows import BadRows
from .references import normal_form
from .shown_values import shown

# `processor.encode_answers`: normalised answers to an `attention_mask` (N, T) and more.
Encode = Callable[[Sequence[str]], Mapping[str, torch.Tensor]]

# Padding makes each as long as the longest of its batch.
_BATCH = 1_000


def check_answer_lengths(
    splits: Mapping[str, Dataset],
    encode: Encode,
    limit: int,
    on_bad_row: str = "error",
) -> DatasetDict:
    """The rows of each split whose answers and choices, normalised, the decoder can read.

    Args:
        splits: Rows of the schema; withheld answers (None) pass. Of several right answers the first is learned.
        encode: `processor.encode_answers`: normalised answers to an `attention_mask` (N, T), [CLS] and [SEP] included.
        limit: How many tokens the decoder has positions for, or is to learn at most, [CLS] and [SEP] included.
        on_bad_row: "error" raises at the first that is longer, naming split, row, question and both lengths;
            "skip" leaves such rows out, and logs their number and each of them.

    Raises:
        ValueError: If an answer is too long and rows are not skipped, or a split has no other.
    """
    bad_rows = BadRows(on_bad_row)
    kept = DatasetDict()
    for split, rows in splits.items():
        choices = rows["choices"][:] if "choices" in rows.column_names else [None] * len(rows)
        forms = [
            [normal_form(text) for text in (answer, *(own or ()))]
            for answer, own in zip(rows["answer"][:], choices, strict=True)
        ]
        lengths = answer_lengths((form for own in forms for form in own if form), encode) | {"": 0}
        longest = [max(lengths[form] for form in own) for own in forms]
        for number in [number for number, length in enumerate(longest) if length > limit]:
            named = [name for name in ("question_id", "question", "answer") if name in rows.column_names]
            row = rows.select_columns(named)[number]  # the texts of a stream have no ids
            which = f" (question id {shown(row['question_id'])})" if "question_id" in row else ""
            text = max(forms[number], key=lambda form: lengths[form])
            kind = f"answer {shown(row['answer'])}" if text == forms[number][0] else f"choice {shown(text)}"
            message = (
                f"the {kind} to {shown(row['question'])}{which} has {longest[number]} tokens, and {limit} is the most: "
                "the decoder's positions, or --max_answer_length."
            )
            bad_rows.add(f"split {split}", number, ValueError(message))
        usable = [number for number, length in enumerate(longest) if length <= limit]
        if len(rows) and not usable:
            raise ValueError(f"split {split}: every answer has more tokens than {limit}, the most.")
        kept[split] = rows if len(usable) == len(rows) else rows.select(usable)
    bad_rows.report()
    return kept


def answer_lengths(answers: Iterable[str], encode: Encode) -> dict[str, int]:
    """By answer, its tokens with [CLS] and [SEP]; each different answer is encoded once.

    Args:
        answers: Normalised answers, or candidates.
        encode: As for `check_answer_lengths`.
    """
    different = sorted(set(answers), key=len)
    lengths: dict[str, int] = {}
    for start in range(0, len(different), _BATCH):
        batch = different[start : start + _BATCH]
        lengths.update(zip(batch, encode(batch)["attention_mask"].sum(dim=1).tolist(), strict=True))
    return lengths
