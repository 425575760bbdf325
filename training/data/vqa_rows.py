"""The rows that a data loader draws: undecoded images, and what the collator needs to know of a row."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

import torch
from datasets import Dataset, Image, IterableDataset

from .images import ImageCell
from .pretraining_rows import stable_id
from .streams import RowStream, check_stream_columns
from .views import IMAGES, cells_of, has_views, undecoded, view_ids


class VqaItem(TypedDict):
    """A question as `AmifVqaCollator` takes it: what it reads of the schema, the row's place and the epoch."""

    image: ImageCell | list[ImageCell]
    question: str
    answer: str | None
    image_id: str
    row: int
    epoch: int
    image_states: NotRequired[list[torch.Tensor]]


class VqaRows(torch.utils.data.Dataset):
    """A data set in the schema as rows for `AmifVqaCollator`, which opens each image of a batch once.

    A row is the schema's dictionary with `image` undecoded (`{"path", "bytes"}`, or a list of such where its question
    is about several), `row` (its index) and `epoch` (for the augmentation's draw).

    accelerate's data loaders call `set_epoch` on the data set in one process, but not where several processes share a
    sampler that has a `set_epoch` of its own: a trainer should call both itself at the start of an epoch.

    Args:
        dataset: Rows of the schema.
        image_states: Encoder states of this data set's images by their ids (`view_ids`), each (tokens, width). A row
            then holds its `image_states`, one for each of its images, and these are never opened.
    """

    def __init__(self, dataset: Dataset, image_states: Mapping[str, torch.Tensor] | None = None) -> None:
        self.dataset = undecoded(dataset)
        self.image_states = image_states
        # Shared memory, because persistent workers hold copies of this object that nobody tells of a new epoch.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    @property
    def image_ids(self) -> list[str]:
        """The image of each row, or its images in one id, as `ImageGroupedSampler` takes it."""
        return self.dataset["image_id"][:]

    def set_epoch(self, epoch: int) -> None:
        """The epoch that rows carry from now on, in every worker."""
        self._epoch.fill_(epoch)

    def set_image_states(self, image_states: Mapping[str, torch.Tensor]) -> None:
        """Other states of the same images from now on; in every worker, if those so far are in shared memory."""
        if self.image_states is None:
            self.image_states = image_states
            return
        for image_id, states in self.image_states.items():
            states.copy_(image_states[image_id])

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> VqaItem:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[VqaItem]:
        """A batch's rows, which a data loader reads at once where it can: several times faster than one by one."""
        columns = cast(dict[str, list], self.dataset[list(rows)])  # a list of places gives columns
        values = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        epoch = int(self._epoch)
        items = [{**cells, "row": row, "epoch": epoch} for cells, row in zip(values, rows, strict=True)]
        if (states := self.image_states) is not None:
            for item in items:
                ids = view_ids(item["image_id"], len(cells_of(item["image"])))
                item["image_states"] = [states[image_id] for image_id in ids]
        return cast(list[VqaItem], items)  # the columns of the schema, and perhaps more


# What must be known of a row; the schema's further columns may be missing.
_NEEDED = ("image", "question", "answer", "image_id")


class VqaStream(RowStream):
    """The answered rows of a stream; `row` is then a number made of image and question.

    Args:
        dataset: A stream of rows of the schema.
    """

    def __init__(self, dataset: IterableDataset) -> None:
        super().__init__(undecoded(dataset))

    def item(self, row: dict[str, Any], epoch: int) -> VqaItem | None:
        """A row as `VqaRows` gives it; None without an answer.

        Raises:
            ValueError: If it lacks a column.
        """
        check_stream_columns(row, _NEEDED, "rename columns, and give each image an image_id.")
        if row["answer"] is None:
            return None
        number = stable_id(f"{row['image_id']}|{row['question']}")
        return cast(VqaItem, {**row, "row": number, "epoch": epoch})


def read_stream(stream: IterableDataset) -> Dataset:
    """All rows of a stream, images undecoded, in memory: what is evaluated is read several times."""
    rows = Dataset.from_list(list(undecoded(stream)))
    return rows.cast_column("image", IMAGES if has_views(rows) else Image())
