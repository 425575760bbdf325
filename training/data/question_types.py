"""Rows of some question types alone."""

from collections.abc import Collection

from datasets import Dataset


def of_question_types(rows: Dataset, types: Collection[str]) -> Dataset:
    """The rows whose `question_type` is one of `types`, in their order.

    Args:
        rows: rows of the schema.
        types: question types as the data set spells them.

    Raises:
        ValueError: for a type that no row has.
    """
    column = rows["question_type"]
    known = {kind for kind in column if kind is not None}
    if missing := [kind for kind in types if kind not in known]:
        there = ", ".join(sorted(known)) or "none"
        raise ValueError(f"No training question is of type {', '.join(missing)}. Types of this data set: {there}.")
    return rows.select([row for row, kind in enumerate(column) if kind in types])
