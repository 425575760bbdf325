"""Rows of streams that fit no disk: shared out over processes and workers, shuffled, and resumed at the next row."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, DatasetDict, DatasetInfo, IterableDataset, IterableDatasetDict
from datasets.distributed import split_dataset_by_node
from datasets.iterable_dataset import BufferShuffledExamplesIterable, CyclingMultiSourcesExamplesIterable
from torch.utils.data import get_worker_info
from transformers.utils import logging

logger = logging.get_logger(__name__)

# Under which a batch tells its place in the stream, as JSON.
PLACE = "stream_place"

# In the next pass a worker has other shards.
_BARREN_PASSES = 10


class RowStream(torch.utils.data.IterableDataset):
    """A stream of rows as a collator takes them, once from beginning to end.

    Args:
        dataset: The stream, its images undecoded.
    """

    def __init__(self, dataset: IterableDataset) -> None:
        self.dataset = dataset
        # Shared memory, because persistent workers hold copies of this object that nobody tells of a new epoch.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """The epoch that rows carry from now on, in every worker; it also chooses the order of a shuffled stream."""
        self._epoch.fill_(epoch)

    def item(self, row: dict[str, Any], epoch: int) -> Any:
        """A row of the stream as the collator takes it in an epoch; None where it is left out."""
        raise NotImplementedError

    def items(self, epoch: int) -> Iterator[Any]:
        """The rows as the stream goes on to give them."""
        return (item for row in self.dataset if (item := self.item(row, epoch)) is not None)

    def __iter__(self) -> Iterator[Any]:
        epoch = int(self._epoch)
        self.dataset.set_epoch(epoch)
        yield from self.items(epoch)


@dataclass(frozen=True)
class Place:
    """Where a worker stands in its part of a stream.

    Attributes:
        epoch: Passes over the stream before, counted from 0.
        passed: Rows of this pass before those that are shuffled together now.
        drawn: Of these the rows that have been drawn.
        state: That of datasets, from before these; None at the beginning of a pass, and for a stream whose state is not
            exact.
    """

    epoch: int = 0
    passed: int = 0
    drawn: int = 0
    state: dict[str, Any] | None = None


class _Block(NamedTuple):
    """Rows that are shuffled together.

    Attributes:
        rows: Those of this process.
        read: How many were read for them, those of other processes included.
        state: That of datasets behind them, as in `Place`.
    """

    rows: list[Mapping[str, Any]]
    read: int
    state: dict[str, Any] | None


class TrainingStream(torch.utils.data.IterableDataset):
    """One process's share of a stream, pass after pass without end, so that every batch of every process is full.

    In a pass each row comes once, whatever the number of processes and workers: whole shards are shared out among
    processes where their number divides that of the shards, and single rows otherwise; shards among workers. The order
    of the shards is drawn anew for each pass, and `buffer_size` rows at a time are read and shuffled.

    A row holds its `Place`, from which another object of the same arguments goes on with the row behind it: at most
    `buffer_size` rows are read again. Of interleaved streams, and of one that `IterableDataset.shuffle` has shuffled
    already, datasets' state is not exact, or lacks the rows of a buffer: there the pass is read again from its
    beginning. What is shuffled already is not shuffled here.

    Args:
        rows: The stream of all processes.
        process: This process's number, counted from 0, and how many there are.
        batch_size: Rows that a data loader draws from a worker at once.
        workers: At most so many processes of a data loader read; see the attribute.
        seed: Of the orders.
        buffer_size: Rows that are shuffled together in each worker.
        batches: How many batches have been drawn in all where the stream is gone on with.
        places: Then, by worker, where it stood behind its last one.

    Attributes:
        workers: As many as there are shards for, at most; 0 reads in the process itself.
    """

    def __init__(
        self,
        rows: RowStream,
        process: tuple[int, int],
        batch_size: int,
        workers: int,
        seed: int,
        buffer_size: int,
        batches: int = 0,
        places: Sequence[Place] | None = None,
    ) -> None:
        self.rows, self.seed, self.batch_size = rows, seed, batch_size
        shards, (rank, processes) = rows.dataset.num_shards, process
        # Of the rows that are read those to keep: this one of so many.
        self._kept = (0, 1)
        if rows.dataset._distributed is None and shards % processes == 0:
            rows.dataset = split_dataset_by_node(rows.dataset, rank, processes)
        elif rows.dataset._distributed is None:
            self._kept = process
            if rank == 0:
                logger.warning(
                    f"{processes} processes do not divide {shards} shards: each process reads all of them and keeps "
                    f"one row of {processes}. With a multiple of {processes} shards each reads its own alone."
                )
        self.workers = min(workers, rows.dataset.num_shards)
        if self.workers < workers and rank == 0:
            logger.warning(f"{self.workers} of {workers} data-loader workers read: there are no shards for more.")
        buffered = is_made_with(rows.dataset, BufferShuffledExamplesIterable)
        self.buffer_size = 1 if buffered else buffer_size
        # Interleaved streams are read ahead by threads, which their state may tell of or not.
        self._state_is_exact = not buffered and not is_made_with(rows.dataset, CyclingMultiSourcesExamplesIterable)
        self.places = list(places or [Place()] * max(1, self.workers))
        # A data loader begins with worker 0; those that have had their turn give it a batch that it throws away.
        self.empty_batches = batches % max(1, self.workers)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker = 0 if info is None else info.id
        if worker < self.empty_batches:
            yield from [{}] * self.batch_size
        for row, place in self._shuffled(worker):
            yield {**row, PLACE: (worker, place)}

    def _shuffled(self, worker: int) -> Iterator[tuple[Mapping[str, Any], Place]]:
        place, barren = self.places[worker], 0
        while barren < _BARREN_PASSES:
            # datasets shuffles shards by its epoch, from 1 on. Its `set_epoch` writes to memory that all workers of a
            # data loader share, where one that begins its next pass would change the order of the others'.
            self.rows.dataset._epoch = 1 + place.epoch + 10_000 * self.seed
            self.rows.dataset.load_state_dict(place.state)  # pyright: ignore[reportArgumentType]  # None is none
            items = self.rows.items(place.epoch)
            if place.state is None and place.passed:
                logger.warning(f"{place.passed} rows of the stream are read again and passed over.")
                next(islice(items, place.passed, place.passed), None)
            barren += 1
            while (block := self._block(items)).read:
                draw = np.random.default_rng((self.seed, place.epoch, worker, place.passed))
                order = draw.permutation(len(block.rows))
                for drawn in range(place.drawn, len(block.rows)):
                    barren = 0
                    yield block.rows[order[drawn]], Place(place.epoch, place.passed, drawn + 1, place.state)
                place = Place(place.epoch, place.passed + block.read, 0, block.state)
            place = Place(place.epoch + 1)
        raise ValueError(
            f"A process that reads the stream found no row to learn from in {_BARREN_PASSES} passes: leave out shards "
            "without any, or give fewer --dataloader_num_workers."
        )

    def _block(self, items: Iterator[Any]) -> _Block:
        """The next rows; none are read where the stream has ended."""
        place, every = self._kept
        read, rows = 0, []
        for item in islice(items, self.buffer_size * every):
            if read % every == place:
                rows.append(item)
            read += 1
        return _Block(rows, read, self.rows.dataset.state_dict() if self._state_is_exact else None)


@dataclass(frozen=True)
class PlacedCollator:
    """Makes batches of rows of a `TrainingStream` that say where the stream stands behind them.

    Args:
        collator: Makes the batches.
    """

    collator: Callable[[Sequence[Any]], Mapping[str, Any]]

    def __call__(self, rows: Sequence[Any]) -> Mapping[str, Any]:
        """The collator's batch, with a JSON text as `PLACE`; nothing of rows that are thrown away."""
        if not rows[0]:
            return {}
        worker, place = rows[-1][PLACE]
        return {**self.collator(rows), PLACE: json.dumps([worker, asdict(place)])}


def check_stream_columns(present: Collection[str], needed: Collection[str], cure: str) -> None:
    """Make sure that a stream's rows have the columns that are read.

    Raises:
        ValueError: If one is missing, with the `cure`.
    """
    if missing := [column for column in needed if column not in present]:
        raise ValueError(f"The stream's rows have the columns {', '.join(present)} and no {', '.join(missing)}: {cure}")


def with_read_evaluation(splits: IterableDatasetDict, limit: int | None = None) -> DatasetDict:
    """Splits whose training rows stay a stream, and whose others are read into memory, images undecoded.

    Args:
        splits: By the package's names; their features are known.
        limit: Read only so many rows of each.

    Raises:
        ValueError: If there are no training rows, or none of another split.
    """
    read: dict[Any, Any] = {}
    for name, stream in splits.items():
        if name == "train":
            read["train"] = stream
            continue
        tables = list((stream if limit is None else stream.take(limit)).with_format("arrow").iter(100))
        if not tables:
            raise ValueError(f"The {name} split holds no row that can be used: leave it out, or correct its columns.")
        read[str(name)] = Dataset(pa.concat_tables(tables), info=DatasetInfo(features=stream.features))
    if "train" not in read:
        raise ValueError(f"There are no shards to train on, but {', '.join(read)}: let their names begin with train.")
    return DatasetDict(read)


def size_of(rows: Dataset | IterableDataset) -> str:
    """How many rows there are; of a stream, which does not know, how many shards."""
    return f"a stream of {rows.num_shards} shards" if isinstance(rows, IterableDataset) else f"{len(rows)}"


def is_made_with(dataset: IterableDataset, *kinds: type) -> bool:
    """Whether a stream, or one that it is made of, does its work by one of datasets' own iterables."""
    waiting: list[Any] = [dataset._ex_iterable]
    while waiting:
        one = waiting.pop()
        if isinstance(one, kinds):
            return True
        inner = getattr(one, "ex_iterables", None) or [getattr(one, "ex_iterable", None)]
        waiting += [source for source in inner if source is not None]
    return False
