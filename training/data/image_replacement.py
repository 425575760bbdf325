"""Data sets with other images, to measure how far the questions alone, or the kind of image, give answers away."""

import io
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import PIL.Image
from datasets import Dataset
from transformers.utils import logging

from .images import ImageCell, decode_image
from .names import IMAGE_REPLACEMENTS
from .schema import KIND_COLUMNS, kind_columns, kind_of
from .shown_values import shown
from .views import cells_of, first_shown, has_views, undecoded, view_ids_of, with_images

logger = logging.get_logger(__name__)


def replace_images(dataset: Dataset, how: str, seed: int = 0) -> Dataset:
    """Rows of `dataset` with other images, and all else as it was.

    `image_id` stays too: it names the image that the QUESTION is about. Rows of one `image_id` still share one image,
    so that encoding each image once holds; but states cached by `image_id` from the untouched data are those of the
    wrong images and must be computed anew. When shuffled, no image is shown for itself; of a question about several
    each is replaced on its own.

    Args:
        dataset: Rows of the schema.
        how: "blank" makes every image black, of the same size; "shuffle" replaces it by another;
            "shuffle_alike" by one of the same modality and organ, or of the one of these that the data name, and leaves
            out the rows of an image without another of its kind.
        seed: Which image replaces which.

    Raises:
        ValueError: If `check_replacement` raises it.
    """
    check_replacement(dataset, how)
    if how == "shuffle_alike":
        dataset = rows_with_alike_images(dataset)
    unread, first = undecoded(dataset), first_shown(dataset)
    images = {image_id: cells_of(unread[row]["image"])[place] for image_id, (row, place) in first.items()}
    if how == "blank":
        replaced = {}
        for image_id, image in images.items():
            file = io.BytesIO()
            where = f"row {first[image_id][0]} (counted from 0), image id {shown(image_id)}"
            PIL.Image.new("RGB", decode_image(image, where).size).save(file, format="PNG")
            replaced[image_id] = {"bytes": file.getvalue(), "path": None}
    else:
        groups = [list(images)] if how == "shuffle" else _alike_images(dataset)
        replaced = {image_id: other for group in groups for image_id, other in _shuffle(images, group, seed).items()}
    column = [[replaced[image_id] for image_id in ids] for ids in view_ids_of(dataset)]
    return with_images(dataset, column if has_views(dataset) else [image for (image,) in column])


def check_replacement(dataset: Dataset, how: str) -> None:
    """Make sure that `replace_images` has what it needs; no image is opened.

    Raises:
        ValueError: If `how` is another; if a single image is to be shuffled; or for "shuffle_alike" where the data name
            neither modality nor organ, or no two images of one kind.
    """
    if how not in IMAGE_REPLACEMENTS:
        raise ValueError(f"how must be one of {', '.join(IMAGE_REPLACEMENTS)}, got {how!r}.")
    if how == "shuffle" and len(first_shown(dataset)) < 2:
        raise ValueError("Images cannot be shuffled: the data shows a single one.")
    if how == "shuffle_alike" and not len(rows_with_alike_images(dataset)):
        raise ValueError(
            "shuffle_alike exchanges images of one modality and organ, and the data name no two of them: use shuffle."
        )


def rows_with_alike_images(dataset: Dataset) -> Dataset:
    """The rows whose image has another of the same modality and organ in the data: those that "shuffle_alike" keeps.

    How many others there are is logged; where no row is kept, nothing is.
    """
    paired = {image_id for image_ids in _alike_images(dataset) for image_id in image_ids}
    kept = dataset.select([row for row, ids in enumerate(view_ids_of(dataset)) if paired.issuperset(ids)])
    if 0 < len(kept) < len(dataset):
        left_out = f"{len(dataset) - len(kept)} of {len(dataset)} questions"
        logger.warning_once(f"{left_out} are about an image without another of its modality and organ: left out.")
    return kept


def _alike_images(dataset: Dataset) -> list[list[str]]:
    """Groups, of two at least, of images of one modality and organ."""
    named = [column for column in KIND_COLUMNS if column in dataset.column_names]
    rows = dataset.select_columns(["image_id", *named]).to_list()
    columns = kind_columns(rows)
    kinds = {
        image_id: kind_of(row, columns) for row, ids in zip(rows, view_ids_of(dataset), strict=True) for image_id in ids
    }
    alike = defaultdict(list)
    for image_id, kind in kinds.items():
        if kind is not None:
            alike[kind].append(image_id)
    return [image_ids for image_ids in alike.values() if len(image_ids) > 1]


def _shuffle(images: Mapping[str, ImageCell], image_ids: Sequence[str], seed: int) -> dict[str, ImageCell]:
    ids = sorted(image_ids)
    random.Random(seed).shuffle(ids)
    # Each takes the next one's: a single cycle, hence never its own.
    return {image_id: images[following] for image_id, following in zip(ids, ids[1:] + ids[:1], strict=True)}
