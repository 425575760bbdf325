"""A stream shared out among processes and workers gives each row once a pass, and goes on with the very next one."""

import json
from collections import Counter
from dataclasses import asdict
from itertools import islice

import pytest
from datasets import Dataset, interleave_datasets, load_dataset
from datasets.iterable_dataset import BufferShuffledExamplesIterable
from torch.utils.data import DataLoader

from amif.training.data import streams
from amif.training.data.streams import PLACE, Place, PlacedCollator, RowStream, TrainingStream, is_made_with

LENGTHS = (7, 12, 4, 9)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Parquet files of different lengths, in row groups of 3."""
    folder, first = tmp_path_factory.mktemp("shards"), 0
    for place, length in enumerate(LENGTHS):
        rows = Dataset.from_dict({"number": list(range(first, first + length))})
        rows.to_parquet(folder / f"train-{place}.parquet", batch_size=3)
        first += length
    return [str(file) for file in sorted(folder.iterdir())]


def parquet(shards):
    return load_dataset("parquet", data_files=shards, split="train", streaming=True)


def mapped(shards):
    """As the readers of tables turn rows into the schema."""
    rows = parquet(shards).with_format("arrow")
    return rows.map(lambda table: table.filter(table["number"].to_numpy() % 5 != 0), batched=True, batch_size=4)


def plain(shards):
    return mapped(shards).with_format(None)


def mixed(shards):
    return interleave_datasets([parquet(shards[:2]), parquet(shards[2:])])


@pytest.fixture
def said(monkeypatch):
    messages = []
    monkeypatch.setattr(streams.logger, "warning", messages.append)
    return messages


class Rows(RowStream):
    def item(self, row, epoch):
        return {"number": row["number"], "epoch": epoch} if row["number"] != 1 else None


def stream(dataset, process=(0, 1), workers=0, buffer_size=5, **on):
    return TrainingStream(Rows(dataset), process, 2, workers, seed=3, buffer_size=buffer_size, **on)


def drawn(rows, batches):
    """The batches that a loader gives, without those to be thrown away, each with where the stream stands behind it."""
    collator = PlacedCollator(lambda rows: {"rows": [(row["epoch"], row["number"]) for row in rows]})
    loader = iter(DataLoader(rows, batch_size=rows.batch_size, collate_fn=collator, num_workers=rows.workers))
    given = list(islice(loader, rows.empty_batches + batches))
    assert all(not batch for batch in given[: rows.empty_batches])
    return given[rows.empty_batches :]


@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (1, 3), (2, 0), (2, 2), (3, 2)])
def test_every_row_comes_once_in_a_pass(shards, processes, workers):
    """Also where processes do not divide shards, which have different lengths, and a batch is of two passes."""
    seen = Counter()
    for process in range(processes):
        for batch in drawn(stream(plain(shards), (process, processes), workers), batches=60):
            seen.update(batch["rows"])
            assert len(batch["rows"]) == 2
    usable = [number for number in range(sum(LENGTHS)) if number % 5 and number != 1]
    assert set(seen.values()) == {1}
    for epoch in (0, 1):
        assert sorted(number for passes, number in seen if passes == epoch) == usable


def test_a_worker_in_its_next_pass_changes_no_order_of_others(shards):
    """Where workers are not in one pass, one tells datasets of its own, in memory that all of them share."""
    rows = stream(plain(shards), workers=2)
    assert drawn(rows, batches=60)[-1]["rows"][0][0] > 0, "in a later pass"
    assert rows.rows.dataset.epoch == 0


def test_each_pass_and_each_seed_has_an_order_of_its_own(shards):
    rows = [number for batch in drawn(stream(plain(shards)), batches=48) for _, number in batch["rows"]]
    one, two = rows[:24], rows[24:48]
    assert sorted(one) != one != two
    assert one == [n for batch in drawn(stream(plain(shards)), batches=12) for _, n in batch["rows"]]
    other = TrainingStream(Rows(plain(shards)), (0, 1), 2, 0, seed=4, buffer_size=5)
    assert one != [number for batch in drawn(other, batches=12) for _, number in batch["rows"]]


def resumed(make, shards, batches, **options):
    """What is drawn behind so many batches by a stream that goes on from their places, through JSON."""
    before = stream(make(shards), **options)
    places = list(before.places)
    for batch in drawn(before, batches):
        worker, place = json.loads(batch[PLACE])
        places[worker] = Place(**place)
    kept = [Place(**json.loads(json.dumps(asdict(place)))) for place in places]
    return drawn(stream(make(shards), batches=batches, places=kept, **options), 30)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (parquet, {"buffer_size": 1}),
        (plain, {}),
        (plain, {"workers": 2}),
        (plain, {"process": (1, 2)}),
        (plain, {"process": (2, 3), "workers": 2}),
    ],
)
def test_a_stream_goes_on_with_the_next_row(shards, make, options):
    """From any batch on, in the middle of what is shuffled together and over the end of a pass."""
    whole = [batch["rows"] for batch in drawn(stream(make(shards), **options), 60)]
    for batches in (1, 2, 5, 8, 13, 20, 27) if "workers" not in options else (1, 8):
        on = [batch["rows"] for batch in resumed(make, shards, batches, **options)]
        assert on == whole[batches : batches + 30]


@pytest.mark.slow  # datasets waits five seconds at the end of each pass over what it has shuffled
def test_a_buffer_of_datasets_is_read_again_so_that_nothing_is_lost(shards):
    """Its state alone would lose the rows that wait in the buffer."""

    def shuffled(shards):
        return plain(shards).shuffle(seed=1, buffer_size=6)

    whole = [batch["rows"] for batch in drawn(stream(shuffled(shards)), 60)]
    for batches in (4, 20):
        assert [batch["rows"] for batch in resumed(shuffled, shards, batches)] == whole[batches : batches + 30]


def test_buffers_are_found_wherever_they_are(shards):
    buffered = parquet(shards).shuffle(seed=1)
    assert is_made_with(buffered.map(dict).take(3), BufferShuffledExamplesIterable)
    assert is_made_with(interleave_datasets([parquet(shards), buffered]), BufferShuffledExamplesIterable)
    assert not is_made_with(mixed(shards), BufferShuffledExamplesIterable)


def test_few_rows_are_read_again(shards):
    before = stream(parquet(shards), buffer_size=5)
    worker, place = json.loads(drawn(before, 9)[-1][PLACE])
    read = []

    class Counting(Rows):
        def item(self, row, epoch):
            read.append(row["number"])
            return super().item(row, epoch)

    on = TrainingStream(Counting(parquet(shards)), (0, 1), 2, 0, 3, 5, 9, [Place(**place)])
    next(iter(on))
    assert (worker, len(read)) == (0, 5)


def test_a_worker_without_rows_says_so(shards):
    empty = parquet(shards).filter(lambda row: row["number"] > 100)
    with pytest.raises(ValueError, match="found no row to learn from in 10 passes: leave out shards"):
        drawn(stream(empty), 1)


def test_what_is_read_more_than_needed_is_said(shards, said):
    stream(parquet(shards), (0, 3), workers=2)
    assert "3 processes do not divide 4 shards: each process reads all of them" in said[0]
    said.clear()
    stream(parquet(shards), (0, 2), workers=3)
    assert said == ["2 of 3 data-loader workers read: there are no shards for more."]
