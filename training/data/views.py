"""The images of a row: one, or the views that its question is about, such as before and after."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import pyarrow.compute as pc
from datasets import Dataset, Image, IterableDataset, List

from ...processing_amif.images_amif import MAX_VIEWS
from .images import ImageCell

# Between the names of a row's images, in one cell of a table and in its image id.
VIEW_SEPARATOR = "|"

# Of a column; a stub of datasets knows no types that are made of others.
IMAGES: Any = List(Image())

_Rows = TypeVar("_Rows", Dataset, IterableDataset)


def has_views(rows: Dataset | IterableDataset) -> bool:
    """Whether the rows of a data set hold lists of images; not where nothing says what a stream holds."""
    return isinstance((rows.features or {}).get("image"), List)


def asks_about_several(rows: Dataset | IterableDataset) -> bool:
    """Whether a question of a data set is about more than one image; of a stream whether one may be."""
    return has_views(rows) and (not isinstance(rows, Dataset) or any(number > 1 for number in _numbers_of_views(rows)))


def undecoded(rows: _Rows) -> _Rows:
    """The rows with cells in place of images, as `cells_of` takes them."""
    feature: Any = List(Image(decode=False)) if has_views(rows) else Image(decode=False)
    return rows.cast_column("image", feature)


def cells_of(image: Any) -> list[ImageCell]:
    """The cells of a row's undecoded `image`.

    Raises:
        ValueError: If there are none, or more than a question may have.
    """
    cells = list(image) if isinstance(image, list | tuple) else [image]
    if not 0 < len(cells) <= MAX_VIEWS:
        raise ValueError(f"a question has {len(cells)} images: give it 1 to {MAX_VIEWS}")
    return cells


def view_ids(image_id: str, number: int) -> list[str]:
    """The ids of a row's images: `image_id` itself of a single one, else its parts, or numbered where it has others."""
    parts = image_id.split(VIEW_SEPARATOR)
    if number == 1 or len(parts) == number:
        return parts if number > 1 else [image_id]
    return [f"{image_id}{VIEW_SEPARATOR}{place}" for place in range(1, number + 1)]


def view_ids_of(rows: Dataset) -> list[list[str]]:
    """`view_ids` of every row."""
    numbers = _numbers_of_views(rows)
    return [view_ids(image_id, number) for image_id, number in zip(rows["image_id"][:], numbers, strict=True)]


def first_shown(rows: Dataset) -> dict[str, tuple[int, int]]:
    """Of each image, by its id, the first row that shows it and its place there; in the order of these."""
    found: dict[str, tuple[int, int]] = {}
    for row, ids in enumerate(view_ids_of(rows)):
        for place, image_id in enumerate(ids):
            found.setdefault(image_id, (row, place))
    return found


def alike(parts: Sequence[Dataset]) -> list[Dataset]:
    """The parts as they are where none, or all, hold lists of images; else all with such lists."""
    if not any(map(has_views, parts)):
        return list(parts)
    return [
        part if has_views(part) else with_images(part, [[cell] for cell in undecoded(part)["image"]]) for part in parts
    ]


def with_images(rows: Dataset, images: Sequence[Any]) -> Dataset:
    """The rows with other images: a cell, or a list of cells, a row."""
    feature = IMAGES if any(isinstance(image, list) for image in images) else Image()
    replaced = rows.remove_columns("image").add_column("image", cast(Any, list(images)), feature=feature)
    return replaced.select_columns(rows.column_names)


def _numbers_of_views(rows: Dataset) -> list[int]:
    if not has_views(rows):
        return [1] * len(rows)
    # In Arrow's format, which the stub does not know; nothing is decoded for it.
    tables: Any = rows.select_columns("image").with_format("arrow").iter(1_000)
    # By its name: pyarrow makes its functions when it is imported, where no checker sees them.
    length_of = pc.get_function("list_value_length")
    return [number for table in tables for number in length_of.call([table["image"]]).to_pylist()]
