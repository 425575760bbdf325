"""Whether two runs learn from the same rows, wherever these lie."""

import hashlib
import json
import os
from pathlib import Path
from typing import cast

import pyarrow as pa
from datasets import Dataset, IterableDataset

from .images import ImageCell
from .views import cells_of
from .zipped_images import is_zipped

# What is learned from, of questions and of image-report pairs. Ids may hold the path of an image.
_LEARNED = ("question", "answer", "text", "view_positions")
_IMAGES = ("image", "images")


def data_fingerprint(rows: Dataset | IterableDataset) -> str:
    """sha256 of questions, answers, reports and images in the order of the rows.

    Of an image that is a file, name and size count: a copy of the data elsewhere has the same fingerprint, and large
    data sets are not read for it.

    Args:
        rows: In the schema of questions or of pairs.
    """
    digest = hashlib.sha256()
    columns = [name for name in (*_LEARNED, *_IMAGES) if name in (rows.column_names or [])]
    for batch in rows.select_columns(columns).with_format("arrow").iter(1_000):
        # The stub knows of no formats: in Arrow's a batch is a table.
        for row in cast("pa.Table", batch).to_pylist():
            digest.update(json.dumps([row.get(name) for name in _LEARNED]).encode())
            for image in cells_of(row["image"]) if "image" in row else row.get("images") or []:
                digest.update(_image_part(image))
    return digest.hexdigest()


def _image_part(cell: ImageCell) -> bytes:
    content, path = cell["bytes"], cell["path"]
    if content:
        return hashlib.sha256(content).digest()
    if path is None:
        return b"none"
    file = path.rsplit("::", 1)[1] if is_zipped(path) else path
    try:
        size = os.stat(file).st_size
    except OSError:
        size = None  # the one who reads it says what is wrong
    return f"{Path(path).name} {size}".encode()
