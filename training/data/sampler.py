"""The order in which questions are visited, so that a batch holds few different images."""

import random
from collections.abc import Iterator, Sequence
from itertools import chain

from torch.utils.data import Sampler


class ImageGroupedSampler(Sampler[int]):
    """Row indices with an image's questions side by side, each row once per epoch.

    Without `shuffle` (evaluation) images follow in the order first seen, each with all its questions. With it
    (training) an image's questions are shuffled and cut into groups of `questions_per_image`, and the groups are
    shuffled: batches of size B then hold about `B / questions_per_image` images, and an image's questions still meet
    different neighbours. The order is a function of (seed, epoch) alone, hence the same on every process.

    Args:
        image_ids: The image of each row.
        questions_per_image: The size of a group; None keeps an image's questions together.
        shuffle: Whether to shuffle.
        seed: Of the shuffling.

    Raises:
        ValueError: If `questions_per_image` is less than 1.
    """

    def __init__(
        self, image_ids: Sequence[str], questions_per_image: int | None = None, shuffle: bool = False, seed: int = 0
    ) -> None:
        if questions_per_image is not None and questions_per_image < 1:
            raise ValueError(f"questions_per_image must be at least 1 or None, got {questions_per_image}.")
        rows_by_image: dict[str, list[int]] = {}
        for row, image_id in enumerate(image_ids):
            rows_by_image.setdefault(image_id, []).append(row)
        self.rows_by_image = list(rows_by_image.values())
        self.questions_per_image = questions_per_image
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`; accelerate's data loaders call this at the start of each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(map(len, self.rows_by_image))

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return chain.from_iterable(self.rows_by_image)
        generator = random.Random(f"{self.seed}:{self.epoch}")
        groups = []
        for rows in self.rows_by_image:
            size = self.questions_per_image or len(rows)
            shuffled = generator.sample(rows, len(rows))
            groups += [shuffled[start : start + size] for start in range(0, len(rows), size)]
        generator.shuffle(groups)
        return chain.from_iterable(groups)


class LengthGroupedSampler(Sampler[int]):
    """Row indices in random order, those of an optimizer step sorted by length, so that little of a batch is padding.

    Which rows a step learns from stays a matter of chance: grouped across steps, as transformers' sampler of this name
    does it, a step would see long answers alone or short ones alone, and the model would learn which, not what is
    asked. The order is a function of (seed, epoch) alone, hence the same on every process.

    Args:
        lengths: The length of each row.
        rows_a_step: Rows that one optimizer step learns from, in several batches.
        seed: Of the shuffling.
    """

    def __init__(self, lengths: Sequence[int], rows_a_step: int, seed: int = 0) -> None:
        self.lengths = list(lengths)
        self.rows_a_step = rows_a_step
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rows = random.Random(f"{self.seed}:{self.epoch}").sample(range(len(self)), len(self))
        steps = [rows[start : start + self.rows_a_step] for start in range(0, len(rows), self.rows_a_step)]
        return chain.from_iterable(sorted(step, key=self.lengths.__getitem__) for step in steps)
