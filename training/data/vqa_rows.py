"""The rows that a data loader draws: undecoded pictures, and what the collator needs to know of a row."""

from typing import Any

import torch
from datasets import Dataset, Image


class VqaRows(torch.utils.data.Dataset):
    """A data set in the schema as rows for `AmifVqaCollator`, which opens each picture of a batch once.

    A row is the schema's dictionary with `image` undecoded (`{"path", "bytes"}`), `row` (its index) and `epoch` (for
    the augmentation's draw).

    accelerate's data loaders call `set_epoch` on the data set in one process, but not where several processes share a
    sampler that has a `set_epoch` of its own: a trainer should call both itself at the start of an epoch.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset.cast_column("image", Image(decode=False))
        # Shared memory, because persistent workers hold copies of this object that nobody tells of a new epoch.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    @property
    def image_ids(self) -> list[str]:
        """The image of each row, as `ImageGroupedSampler` takes it."""
        return list(self.dataset["image_id"])

    def set_epoch(self, epoch: int) -> None:
        """The epoch that rows carry from now on, in every worker."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {**self.dataset[row], "row": row, "epoch": int(self._epoch)}
