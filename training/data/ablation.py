"""Data sets whose pictures tell nothing, to measure how far the questions alone give the answers away."""

import io
import random
from typing import Any

import PIL.Image
from datasets import Dataset, Image

from .images import open_image


def ablate_images(dataset: Dataset, how: str, seed: int = 0) -> Dataset:
    """`dataset` with every picture made black ("blank", same size) or replaced by another image's ("shuffle").

    Everything else stays, `image_id` too: it names the image that the QUESTION is about. Rows of one `image_id` still
    share one picture, so that encoding each image once holds; but states cached by `image_id` from the untouched data
    are those of the wrong pictures and must be computed anew. With "shuffle" no image keeps its own picture; the
    pairing is a function of `seed`.

    Raises:
        ValueError: for another `how`, or for "shuffle" when there is only one image.
    """
    if how not in ("blank", "shuffle"):
        raise ValueError(f"how must be 'blank' or 'shuffle', got {how!r}.")
    undecoded = dataset.cast_column("image", Image(decode=False))
    image_ids = list(dataset["image_id"])
    first_rows = {image_id: row for row, image_id in reversed(list(enumerate(image_ids)))}
    pictures = {image_id: undecoded[row]["image"] for image_id, row in first_rows.items()}
    ablated = _blank(pictures) if how == "blank" else _shuffle(pictures, seed)
    column = [ablated[image_id] for image_id in image_ids]
    return (
        dataset.remove_columns("image")
        .add_column("image", column, feature=Image())
        .select_columns(dataset.column_names)
    )


def _shuffle(pictures: dict[str, Any], seed: int) -> dict[str, Any]:
    if len(pictures) < 2:
        raise ValueError("Images cannot be shuffled: the data shows a single one.")
    ids = sorted(pictures)
    random.Random(seed).shuffle(ids)
    # Each takes the next one's: a single cycle, hence never its own.
    return {image_id: pictures[following] for image_id, following in zip(ids, ids[1:] + ids[:1], strict=True)}


def _blank(pictures: dict[str, Any]) -> dict[str, Any]:
    return {image_id: _black_picture(open_image(picture).size) for image_id, picture in pictures.items()}


def _black_picture(size: tuple[int, int]) -> dict[str, Any]:
    file = io.BytesIO()
    PIL.Image.new("RGB", size).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}
