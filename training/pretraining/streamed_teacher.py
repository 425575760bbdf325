"""A teacher's embeddings of a stream: kept shard by shard beside the run, and read together with it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypedDict, cast

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, IterableDataset, List, Value
from transformers.utils import logging

from ..data.images import ImageCell
from ..data.pretraining_rows import stable_id
from .base_trainer import BasePreTrainer
from .teacher import IMAGE_COLUMN, TEXT_COLUMN, Teacher, embed_batch, load_teacher

logger = logging.get_logger(__name__)

_VECTOR = pa.list_(pa.float32())
# `row` tells a row from others that may stand in its place later.
_SCHEMA = pa.schema([("row", pa.int64()), (IMAGE_COLUMN, pa.list_(_VECTOR)), (TEXT_COLUMN, _VECTOR)])


class _Study(TypedDict):
    """A row of the stream with undecoded images, and the columns that its data set has beside."""

    images: list[ImageCell]
    text: str
    study_id: str


def embed_stream(stream: IterableDataset, spec: str, trainer: BasePreTrainer) -> IterableDataset:
    """What a run trains on, with its teacher's embeddings, which are kept in the output folder.

    Args:
        stream: Rows with images, text and study_id.
        spec: The teacher as `load_teacher` takes it; "column:NAME" is nothing to compute.
        trainer: Whose processes share the work.
    """
    if spec.startswith("column:"):
        return stream
    args = trainer.args
    teacher, folder = load_teacher(spec, args.device), Path(str(args.output_dir)) / "teacher_embeddings"
    files = embed_shards(stream, teacher, folder, process=(args.process_index, args.world_size))
    trainer.accelerator.wait_for_everyone()
    return with_embeddings(stream, files)


def embed_shards(
    stream: IterableDataset,
    teacher: Teacher,
    folder: str | os.PathLike[str],
    batch_size: int = 32,
    process: tuple[int, int] = (0, 1),
) -> list[Path]:
    """Embed a stream of studies by shards, each into a Parquet file; those that are there already are kept.

    A file bears its name only when it is whole, so that an interruption costs a shard at most.

    Args:
        stream: Rows with images, text and study_id.
        teacher: Embeds them.
        folder: Gets a folder of the teacher's fingerprint, which holds the files.
        batch_size: Studies a step.
        process: This process's number, counted from 0, and how many share the shards out among them.

    Returns:
        The files of all shards; those of other processes may not be there yet.

    Raises:
        ValueError: If an image cannot be read.
    """
    place = Path(folder) / teacher.fingerprint()[:16]
    place.mkdir(parents=True, exist_ok=True)
    number = stream.num_shards
    files = [place / f"{shard:05d}-of-{number:05d}.parquet" for shard in range(number)]
    rank, processes = process
    for shard in range(rank, number, processes):
        if not _is_whole(files[shard]):
            logger.info(f"The teacher embeds shard {shard + 1} of {number}.")
            _embed_shard(stream.shard(number, shard), teacher, files[shard], batch_size)
    return files


def with_embeddings(stream: IterableDataset, files: Sequence[Path]) -> IterableDataset:
    """The stream with `teacher_image_embeds`, d values for each image, and `teacher_text_embeds`, d values.

    It has the same shards.

    Args:
        stream: Rows that `embed_shards` has embedded.
        files: What it made of them.
    """
    vector = List(Value("float32"))
    features = Features({**(stream.features or {}), IMAGE_COLUMN: List(vector), TEXT_COLUMN: vector})
    shards = {"shards": list(range(len(files))), "files": [str(file) for file in files]}
    return IterableDataset.from_generator(partial(_joined, stream), features, shards)


def _embed_shard(shard: IterableDataset, teacher: Teacher, file: Path, batch_size: int) -> None:
    unfinished, embedded = file.with_suffix(".unfinished"), 0
    with pq.ParquetWriter(unfinished, _SCHEMA, write_page_checksum=True) as writer:
        for rows in _batches(shard, batch_size):
            columns = {name: [row[name] for row in rows] for name in ("images", "text")}
            numbers = range(embedded, embedded + len(rows))
            embeds = embed_batch(columns, [f"{number} of {file.stem}" for number in numbers], teacher)
            writer.write_table(pa.table({"row": [_row_id(row) for row in rows], **embeds}, schema=_SCHEMA))
            embedded += len(rows)
    os.replace(unfinished, file)


def _is_whole(file: Path) -> bool:
    if not file.is_file():
        return False
    try:
        pq.read_table(file, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        logger.warning(f"{file}, which keeps the teacher's embeddings, is damaged: they are computed anew.")
        return False
    return True


def _joined(stream: IterableDataset, shards: Sequence[int], files: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for shard, file in zip(shards, files, strict=True):
        kept = pq.ParquetFile(file, page_checksum_verification=True)
        embeds = (embedded for batch in kept.iter_batches(256) for embedded in batch.to_pylist())
        rows = (row for batch in _batches(stream.shard(stream.num_shards, shard), 16) for row in batch)
        for row, embedded in zip_longest(rows, embeds):
            if row is None or embedded is None or embedded["row"] != _row_id(row):
                raise ValueError(
                    f"{file} holds the teacher's embeddings of other studies than its shard: the data are no longer "
                    "those that were embedded. Delete the file, and start again with another --output_dir."
                )
            yield {**row, IMAGE_COLUMN: embedded[IMAGE_COLUMN], TEXT_COLUMN: embedded[TEXT_COLUMN]}


def _batches(shard: IterableDataset, size: int) -> Iterator[list[_Study]]:
    """Rows with undecoded images, by `iter`, which is not shared out among the workers of a data loader once more."""
    for columns in shard.cast_column("images", List(Image(decode=False))).iter(size):
        yield [cast(_Study, dict(zip(columns, cells, strict=True))) for cells in zip(*columns.values(), strict=True)]


def _row_id(row: _Study) -> int:
    images = [(image["path"], len(image["bytes"] or b"")) for image in row["images"]]
    return stable_id(repr((row["study_id"], row["text"], images)))
