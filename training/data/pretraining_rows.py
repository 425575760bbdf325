"""The rows that a data loader draws for pre-training: undecoded views, and what the collator needs to know of a row."""

import hashlib
from typing import Any, NotRequired, TypedDict, cast

import pyarrow as pa
import torch
from datasets import Dataset, Image, IterableDataset, List

from .images import ImageCell
from .streams import RowStream, check_stream_columns


class PretrainingItem(TypedDict):
    """A study as `AmifPreTrainingCollator` takes it: what it reads of its columns, a number of its own and the epoch.

    `teacher_image_embeds` is one vector for the study, or one for each image.
    """

    images: list[ImageCell]
    text: str
    study_id: str
    row: int
    epoch: int
    view_positions: NotRequired[list[str | None] | None]
    teacher_image_embeds: NotRequired[list[float] | list[list[float]]]
    teacher_text_embeds: NotRequired[list[float]]


def stable_id(text: str) -> int:
    """An int64 that is equal for equal texts, in every process and run, and in practice for no others."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)


class PretrainingRows(torch.utils.data.Dataset):
    """Image-report pairs as rows for `AmifPreTrainingCollator`, which opens the two views that it draws.

    A row is the data set's dictionary with `images` undecoded (each `{"path", "bytes"}`), `row` (its index) and `epoch`
    (for the draws of views and augmentation). On `set_epoch` see `VqaRows`.

    Args:
        dataset: Rows with images, text and study_id.
    """

    def __init__(self, dataset: Dataset) -> None:
        # Arrow's own rows: to cast a list of images to undecoded ones would copy the data set.
        self.dataset = dataset.with_format("arrow")
        # Shared memory, because persistent workers hold copies of this object that nobody tells of a new epoch.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """The epoch that rows carry from now on, in every worker."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> PretrainingItem:
        (item,) = cast(pa.Table, self.dataset[row]).to_pylist()
        return cast(PretrainingItem, {**item, "row": row, "epoch": int(self._epoch)})


_NEEDED = ("images", "text", "study_id")
_CURE = (
    "read the stream by load_pretraining_dataset with streaming=True and the names of your columns, or rename columns."
)


class PretrainingStream(RowStream):
    """The same rows from a stream; `row` is then a number made of the study's id.

    Args:
        dataset: A stream of rows with images, text and study_id.

    Raises:
        ValueError: If it is known to lack a column.
    """

    def __init__(self, dataset: IterableDataset) -> None:
        check_stream_columns(dataset.column_names or _NEEDED, _NEEDED, _CURE)
        super().__init__(dataset.cast_column("images", List(Image(decode=False))))

    def item(self, row: dict[str, Any], epoch: int) -> PretrainingItem:
        """A row as `PretrainingRows` gives it.

        Raises:
            ValueError: If it lacks a column.
        """
        check_stream_columns(row, _NEEDED, _CURE)
        return cast(PretrainingItem, {**row, "row": stable_id(row["study_id"]), "epoch": epoch})
