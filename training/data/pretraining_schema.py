"""The one form that every reader of image-report pairs gives, and what of a source can be used."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from datasets import Dataset, DatasetDict, Features, Image, List, Value
from transformers.utils import logging

from ...processing_amif import normalize_report
from .images import open_image
from .schema import compare_counts

logger = logging.get_logger(__name__)

PRETRAINING_FEATURES = Features({"images": List(Image()), "text": Value("string"), "study_id": Value("string")})
# Columns that may hold a value for each of a row's images.
PER_IMAGE = ("view_positions", "teacher_image_embeds")


class PretrainingRow(TypedDict):
    """A study that a reader makes: paths of its images, its report, and further columns that its data set has.

    `text` is None where the study has no report, and absent where none is asked for.
    """

    images: list[Path]
    text: NotRequired[str | None]
    study_id: str
    view_positions: NotRequired[list[str | None]]
    subject_id: NotRequired[str]
    file_name: NotRequired[str]
    paper_id: NotRequired[str]
    radiology: NotRequired[bool | None]
    concepts: NotRequired[list[str]]


def build_pretraining_dataset(rows: Sequence[Mapping[str, Any]], extra: Mapping[str, Any] | None = None) -> Dataset:
    """A data set in the schema's features, with the features `extra` behind them.

    Images given as paths are stored as paths: nothing is opened here. A column that a row lacks is None.
    """
    features = Features({**PRETRAINING_FEATURES, **(extra or {})})
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in features}
    columns["images"] = [[str(path) for path in images] for images in columns["images"]]
    return Dataset.from_dict(columns, features=features)


def build_splits(
    reader: str,
    listed: Mapping[str, Sequence[PretrainingRow]],
    published: Mapping[str, int],
    strict: bool,
    extra: Mapping[str, Any],
) -> DatasetDict:
    """The usable studies of each split, the listed ones having been compared with the `published` counts.

    A split of which nothing is usable, as in a copy of a few folders alone, is left out.

    Raises:
        ValueError: If `strict` and the counts differ or an image cannot be read.
        FileNotFoundError: If nothing at all is usable.
    """
    compare_counts(reader, {split: len(rows) for split, rows in listed.items()}, published, strict)
    usable = {split: keep_usable(rows, f"{reader} {split}", strict) for split, rows in listed.items()}
    splits = DatasetDict({split: build_pretraining_dataset(rows, extra) for split, rows in usable.items()})
    return drop_empty(splits, reader)


def drop_empty(splits: DatasetDict, source: str) -> DatasetDict:
    """`splits` without empty ones.

    Raises:
        FileNotFoundError: If all are empty.
    """
    kept = DatasetDict({split: rows for split, rows in splits.items() if len(rows)})
    if not kept:
        raise FileNotFoundError(f"{source}: no study has both an image that can be read and a report.")
    return kept


def keep_usable(rows: Sequence[PretrainingRow], source: str, strict: bool = False) -> list[PretrainingRow]:
    """`rows` without images that cannot be read, and without studies that then lack an image or that lack a report.

    Of each image file only the head is read: a file that is cut off later is found when it is used. What is left out is
    counted and reported as a warning.

    Args:
        rows: Studies with `images` (paths), `text` (or None; without the key no report is asked for), and perhaps the
            columns of `PER_IMAGE`.
        source: What the warning calls them.
        strict: Raise where an image is missing or damaged.

    Raises:
        ValueError: If `strict` and an image cannot be read.
    """
    unreadable = _unreadable([path for row in rows for path in row["images"]])
    seen = [_without(row, unreadable) for row in rows]
    kept = [row for row in seen if row["images"] and has_words(row.get("text", "no text is asked for"))]
    imageless = sum(not row["images"] for row in seen)
    report_left_out(source, len(rows), imageless, len(rows) - len(kept) - imageless, sorted(unreadable), strict)
    return kept


def report_left_out(
    source: str, total: int, imageless: int, textless: int, unreadable: Sequence[Any] = (), strict: bool = False
) -> None:
    """Say what of a source cannot be used; nothing where all can.

    Raises:
        ValueError: If `strict` and there are `unreadable` images.
    """
    parts = []
    if imageless or textless:
        parts.append(
            f"{imageless + textless} of {total} studies are left out: {imageless} without an image that can be read, "
            f"{textless} without a report."
        )
    if unreadable:
        parts.append(f"{len(unreadable)} image files are missing or damaged, the first is {unreadable[0]}.")
    if not parts:
        return
    message = f"{source}: {' '.join(parts)}"
    if strict and unreadable:
        raise ValueError(f"{message} Put complete files there, or read without strict.")
    logger.warning(message)


def has_words(text: str | None) -> bool:
    """Whether a report holds anything to read."""
    return bool(normalize_report(text or ""))


def begins_like_an_image(image: str | Path | bytes) -> bool:
    """Whether a file, or encoded bytes, begin like an image that can be opened."""
    embedded = isinstance(image, bytes)
    try:
        with open_image({"bytes": image if embedded else None, "path": None if embedded else str(image)}):
            return True
    except ValueError:
        return False


def _unreadable(paths: Iterable[Path]) -> set[Path]:
    paths = list(dict.fromkeys(paths))
    # Threads, because on network file systems the time goes into waiting.
    with ThreadPoolExecutor() as pool:
        return {path for path, good in zip(paths, pool.map(begins_like_an_image, paths), strict=True) if not good}


def _without(row: PretrainingRow, unreadable: set[Path]) -> PretrainingRow:
    places = [place for place, path in enumerate(row["images"]) if path not in unreadable]
    kept: dict[str, Any] = {**row, "images": [row["images"][place] for place in places]}
    each = {name: at_places(kept[name], places, len(row["images"])) for name in PER_IMAGE if name in kept}
    return cast(PretrainingRow, kept | each)


def at_places(values: Any, places: Sequence[int], number: int) -> Any:
    """Of a list with a value for each of `number` images those at `places`; anything else, as one vector, unchanged."""
    each = isinstance(values, list) and 0 < len(values) == number and not isinstance(values[0], float)
    return [values[place] for place in places] if each else values
