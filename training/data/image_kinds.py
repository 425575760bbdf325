"""Of what kind an image is: its modality and organ, as far as the data name them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

KIND_COLUMNS = ("modality", "organ")


def kind_columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which of modality and organ any of the rows names; none where the data do not say."""
    rows = list(rows)
    return [column for column in KIND_COLUMNS if any(row.get(column) for row in rows)]


def kind_of(row: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, ...] | None:
    """The values of `columns`, those of `kind_columns`; None where one is missing, so that the kind is not known."""
    values = tuple(row.get(column) for column in columns)
    return values if values and all(values) else None
