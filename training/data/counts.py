"""Published row counts against those found, so that a damaged or different copy does not pass unnoticed."""

from collections.abc import Mapping

from transformers.utils import logging

logger = logging.get_logger(__name__)


def compare_counts(reader: str, found: Mapping[str, int], published: Mapping[str, int], strict: bool) -> None:
    """Say which splits differ from `published`, as in "vqa_rad train: 2999 rows, published 3064".

    Raises:
        ValueError: when `strict` and a split differs or is absent; otherwise the differences are logged as a warning.
    """
    differences = [
        f"{reader} {split}: {found.get(split, 0)} rows, published {rows}"
        for split, rows in published.items()
        if found.get(split, 0) != rows
    ]
    if not differences:
        return
    if strict:
        raise ValueError("; ".join(differences))
    for difference in differences:
        logger.warning(difference)
