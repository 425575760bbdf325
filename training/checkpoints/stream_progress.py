"""How far a run has come in a stream: noted with each step, kept in checkpoints, and gone on from."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import DataLoaderShard, prepare_data_loader
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import logging

from ..data.streams import Place, PlacedCollator, RowStream, TrainingStream

logger = logging.get_logger(__name__)


class StreamProgress(TrainerCallback):
    """Keeps where the workers of this process stand in their stream, behind the last whole step."""

    def __init__(self) -> None:
        self._args: Any = None
        self._checkpoint: str | None = None
        self._places: list[Place] = []
        self._batches = self._shards = 0
        self._noted: list[str] = []

    def start(self, checkpoint: str | None, args: Any) -> None:
        """Begin a run, or go on from a checkpoint.

        Args:
            checkpoint: Its folder; None to begin.
            args: The trainer's arguments.
        """
        self._args, self._checkpoint = args, checkpoint
        # The stream itself goes on where it was; the Trainer would draw all batches before once more.
        args.ignore_data_skip = True

    def go_on(self, rows: RowStream, batch_size: int) -> TrainingStream:
        """The training stream of this process, from the place where it stands on.

        Raises:
            ValueError: If the checkpoint was saved by a run of no stream, or of other processes, workers or batches.
        """
        args, self._shards, self._noted = self._args, rows.dataset.num_shards, []
        places, self._batches = ([], 0) if self._checkpoint is None else self._read(self._checkpoint)
        seed = args.seed if args.data_seed is None else args.data_seed
        process = (args.process_index, args.world_size)
        workers, buffer_size = args.dataloader_num_workers, args.shuffle_buffer_size
        stream = TrainingStream(rows, process, batch_size, workers, seed, buffer_size, self._batches, places)
        self._places = list(stream.places)
        return stream

    def _read(self, checkpoint: str) -> tuple[list[Place], int]:
        file = Path(checkpoint) / self._file_name
        if not file.is_file():
            raise ValueError(
                f"{checkpoint} has no {file.name}: it was saved by a run of fewer processes, or that read no stream. "
                "Go on as it was begun, or train anew in another --output_dir."
            )
        kept, own = json.loads(file.read_text(encoding="utf-8")), self._shape
        if different := [f"{name}: {own[name]} here, {kept[name]} there" for name in own if own[name] != kept[name]]:
            raise ValueError(
                f"{checkpoint} stands in a stream that was shared out otherwise ({'; '.join(different)}). Give its own "
                "to go on with it."
            )
        return [Place(**place) for place in kept["places"]], kept["batches"]

    def note(self, place: str | None) -> None:
        """Take down the place behind a batch that a step has learned from."""
        if place is not None:
            self._noted.append(place)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep the places behind the step's batches."""
        for noted in self._noted:
            worker, place = json.loads(noted)
            self._places[worker] = Place(**place)
        self._batches += len(self._noted)
        self._noted = []
        # Which the Trainer counts from the last resume on, where it draws no batches again.
        state.epoch = state.global_step / state.max_steps

    def write(self, folder: str | Path) -> None:
        """Keep the places in a checkpoint, a file a process; nothing of a run that reads no stream."""
        if not self._places:
            return
        content = {**self._shape, "batches": self._batches, "places": [asdict(place) for place in self._places]}
        (Path(folder) / self._file_name).write_text(json.dumps(content), encoding="utf-8")

    @property
    def epoch(self) -> int:
        """Passes over the stream that this process has finished, by its slowest worker."""
        return min((place.epoch for place in self._places), default=0)

    @property
    def _file_name(self) -> str:
        return f"stream_{self._args.process_index}.json"

    @property
    def _shape(self) -> dict[str, int]:
        names = ("dataloader_num_workers", "per_device_train_batch_size", "shuffle_buffer_size", "seed")
        of_arguments = {f"--{name}": getattr(self._args, name) for name in names}
        return {"processes": self._args.world_size, "shards": self._shards} | of_arguments


def check_stream_arguments(args: TrainingArguments) -> None:
    """Make sure that a run on a stream has an end, and say where checkpoints and evaluations wait for it.

    Raises:
        ValueError: If it trains without `max_steps`.
    """
    if not args.do_train:
        return
    if args.max_steps < 1:
        raise ValueError("--streaming true: nobody knows how long a stream is, so say how long to train: --max_steps.")
    by_epoch = [
        f"--{name} epoch"
        for name in ("eval_strategy", "save_strategy")
        if getattr(args, name) == IntervalStrategy.EPOCH
    ]
    if by_epoch:
        logger.warning(
            f"{' and '.join(by_epoch)}: the passes over a stream end at no one step, so that this happens once, at the "
            "end of the run. For more give --eval_strategy steps --save_strategy steps --eval_steps N --save_steps N."
        )


def go_without_validation(args: TrainingArguments, splits: Mapping[Any, Any]) -> None:
    """Ask for no evaluation while training where a stream has no validation split, which is said aloud."""
    if "validation" not in splits and args.eval_strategy != IntervalStrategy.NO:
        logger.warning(
            "The stream has no validation split, and none is made of it: nothing is evaluated while training, and the "
            "last weights are kept. For a validation split add shards whose names begin with validation."
        )
        args.eval_strategy, args.load_best_model_at_end, args.do_eval = IntervalStrategy.NO, False, False


def prepare_stream(
    rows: TrainingStream, collator: Any, args: TrainingArguments, accelerator: Accelerator
) -> DataLoader:
    """A data loader of one process's rows, as the Trainer and accelerate make them, but shared out no further."""
    loader = DataLoader(
        rows,
        batch_size=rows.batch_size,
        collate_fn=PlacedCollator(collator),
        num_workers=rows.workers,
        pin_memory=args.dataloader_pin_memory,
        prefetch_factor=args.dataloader_prefetch_factor if rows.workers else None,
        multiprocessing_context=args.dataloader_multiprocessing_context if rows.workers else None,
        # Of its own, so that a loader that is made anew draws nothing from the state that dropout draws from.
        generator=torch.Generator().manual_seed(args.seed),
    )
    prepared = prepare_data_loader(loader, accelerator.device, 1, 0, put_on_device=True, dispatch_batches=False)
    assert isinstance(prepared, DataLoaderShard)
    prepared.skip_batches = rows.empty_batches
    return prepared
