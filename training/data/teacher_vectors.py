"""A teacher's embeddings in a data set's columns, looked through before anything is learned from them."""

from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

_BATCH = 1_000


def check_teacher_vectors(rows: Dataset, images: str, texts: str, source: str) -> int:
    """Make sure that each study has vectors of one width that have a direction.

    Args:
        rows: Image-report pairs.
        images: The column that holds a vector for each row, or one for each of its images.
        texts: The column that holds a vector for each row.
        source: What messages call the rows.

    Returns:
        The width of all vectors.

    Raises:
        ValueError: If a row has no vector, not one for each of its images, or one of another width, of zeros, or with
            NaN or infinity; the message names the row.
    """
    width = None
    undecoded = rows.select_columns(["images", images, texts]).with_format("arrow")
    for number, batch in enumerate(undecoded.iter(_BATCH)):
        table = cast("pa.Table", batch)
        counts = pc.call_function("list_value_length", [table["images"]]).to_numpy()
        for name in (texts, images):
            try:
                width = _width(table[name].combine_chunks(), counts if name == images else None, width)
            except _BadRow as bad:
                row = number * _BATCH + bad.row
                raise ValueError(
                    f"{source}: row {row} (counted from 0): {name} {bad.reason}. Correct the row, or leave it out."
                ) from None
    return width or 0


class _BadRow(Exception):
    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row, self.reason = row, reason


def _width(column: Any, counts: np.ndarray | None, width: int | None) -> int:
    """The width of a column's vectors, that of those before or, where there are none, of the first."""
    rows = np.arange(len(column))
    if counts is not None and _is_list(column.type) and _is_list(column.type.value_type):
        given = _lengths(column, rows)
        _refuse(given != counts, rows, lambda row: f"holds {given[row]} vectors for {counts[row]} images")
        rows, column = np.repeat(rows, given), column.flatten()
    if not _is_list(column.type) or not (
        pa.types.is_floating(column.type.value_type) or pa.types.is_integer(column.type.value_type)
    ):
        raise _BadRow(0, f"is of the type {column.type}, no list of numbers")
    lengths = _lengths(column, rows)
    width = width or int(lengths[0])
    _refuse((lengths != width) | (lengths == 0), rows, lambda place: f"has {lengths[place]} values, not {width}")
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, width)
    _refuse(~np.isfinite(values).all(axis=1), rows, lambda place: "holds NaN, infinity or an empty value")
    _refuse(~values.any(axis=1), rows, lambda place: "is a vector of zeros, which has no direction")
    return width


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _lengths(column: Any, rows: np.ndarray) -> np.ndarray:
    _refuse(column.is_null().to_numpy(zero_copy_only=False), rows, lambda place: "is empty")
    return pc.call_function("list_value_length", [column]).to_numpy(zero_copy_only=False).astype(np.int64)


def _refuse(wrong: np.ndarray, rows: np.ndarray, reason: Any) -> None:
    if wrong.any():
        place = int(wrong.argmax())
        raise _BadRow(int(rows[place]), reason(place))
