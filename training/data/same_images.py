"""Images that are one file under several names, which no split may show on both sides without a word."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset
from transformers.utils import logging

from .images import ImageCell, image_file
from .shown_values import shown
from .views import VIEW_SEPARATOR, cells_of, first_shown, undecoded, view_ids_of
from .zipped_images import is_zipped

logger = logging.get_logger(__name__)

# An image by its split and its id.
Place = tuple[str, str]


def same_images(splits: Mapping[str, Dataset]) -> dict[Place, Place]:
    """For each image whose bytes are those of another before it, in any split, the first of these; train comes first.

    Files on disk are compared by size first, and only those of one size are read: the cost is a look-up for each image,
    and a reading for those that may be equal. What was encoded or resized anew is not found: an audit compares pixels.

    Args:
        splits: Rows of the schema.

    Raises:
        FileNotFoundError: If an image has vanished since it was listed.
    """
    by_size: dict[int, list[tuple[Place, ImageCell]]] = defaultdict(list)
    found: dict[Place, Place] = {}
    place = ("", "")
    try:
        for split in sorted(splits, key=lambda name: (name != "train", name != "validation")):
            rows = splits[split]
            unread = undecoded(rows.select_columns(["image", "image_id"]))
            for image_id, (row, view) in first_shown(rows).items():
                cell = cells_of(unread[row]["image"])[view]
                place = (str(split), image_id)
                by_size[_size(cell)].append((place, cell))
        for alike in by_size.values():
            first: dict[bytes, Place] = {}
            for place, cell in alike if len(alike) > 1 else ():
                file = image_file(cell)
                content = Path(file).read_bytes() if isinstance(file, str) else file.getvalue()
                original = first.setdefault(hashlib.sha256(content).digest(), place)
                if original != place:
                    found[place] = original
    except OSError as error:
        raise FileNotFoundError(
            f"{place[0]}, image id {shown(place[1])}: the image {error.filename} cannot be read any more "
            f"({error.strerror}): put it back, or leave its rows out."
        ) from None
    return found


def with_one_name_an_image(rows: Dataset, twins: Mapping[Place, Place], column: str, split: str = "train") -> Dataset:
    """`rows` with `column`: the image id, and for an image that is another's file the id of the first.

    Rows that share one of several images have one name too, also by way of others.
    """
    first = {image_id: original for (name, image_id), (_, original) in twins.items() if name == split}
    ids = [[first.get(image_id, image_id) for image_id in views] for views in view_ids_of(rows)]
    names: dict[str, str] = {}

    def name_of(image_id: str) -> str:
        """The name that an image has so far: the end of the chain that begins at its id."""
        while names.setdefault(image_id, image_id) != image_id:
            image_id = names[image_id]
        return image_id

    for views in ids:
        for image_id in views[1:]:
            names[name_of(image_id)] = name_of(views[0])
    return rows.add_column(column, [name_of(views[0]) for views in ids])


def originals(rows: Dataset) -> dict[str, str]:
    """Of each image of `rows` whose file is that of one before it, by its id, the id of the first of these.

    Raises:
        FileNotFoundError: As `same_images`.
    """
    return {image_id: original for (_, image_id), (_, original) in same_images({"": rows}).items()}


def shared_image_ids(rows: Dataset) -> list[str]:
    """The image id of each row, of an image that is another's file the id of the first: rows of one id show the same.

    Raises:
        FileNotFoundError: As `same_images`.
    """
    first = originals(rows)
    return [
        VIEW_SEPARATOR.join(first.get(view, view) for view in views) if first.keys() & set(views) else image_id
        for image_id, views in zip(rows["image_id"][:], view_ids_of(rows), strict=True)
    ]


def report_same_images(source: str, twins: Mapping[Place, Place]) -> None:
    """Say how many images of a data set are one file under two names, within a split and in two of them."""
    within = [(image, original) for image, original in twins.items() if image[0] == original[0]]
    across = [(image, original) for image, original in twins.items() if image[0] != original[0]]
    if within:
        (_, name), (_, other) = within[0]
        logger.warning(
            f"{source}: {len(within)} images are the same file as another of their split, as {name!r} is {other!r}: "
            "where a split is made by image they stay on one side."
        )
    if across:
        (split, name), (other_split, other) = across[0]
        logger.warning(
            f"{source}: {len(across)} images of one split are shown in another too, as {name!r} of {split} is "
            f"{other!r} of {other_split}: figures on them are too good. Leave them out of one."
        )


def _size(cell: ImageCell) -> int:
    content, path = cell["bytes"], cell["path"]
    if content:
        return len(content)
    return -1 if path is None or is_zipped(path) else os.stat(path).st_size
