import random
from collections import Counter
from itertools import groupby

import pytest
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, DataLoader

from amif.training.data import ImageGroupedSampler
from amif.training.data.sampler import LengthGroupedSampler


@pytest.fixture
def image_ids():
    draw = random.Random(0)
    ids = [f"image{image}" for image in range(30) for _ in range(draw.randint(1, 12))]
    draw.shuffle(ids)
    return ids


def naive_evaluation_order(image_ids):
    return [row for image in dict.fromkeys(image_ids) for row, other in enumerate(image_ids) if other == image]


def test_evaluation_walks_image_by_image(image_ids):
    sampler = ImageGroupedSampler(image_ids)
    assert list(sampler) == naive_evaluation_order(image_ids)
    assert len(sampler) == len(image_ids)


@pytest.mark.parametrize("size", [1, 3, 5, None])
@pytest.mark.parametrize("epoch", range(3))
def test_training_visits_every_row_once_in_groups(image_ids, size, epoch):
    sampler = ImageGroupedSampler(image_ids, questions_per_image=size, shuffle=True, seed=7)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(len(image_ids)))
    changes = sum(1 for _ in groupby(image_ids[row] for row in order))
    groups = sum(-(-count // (size or count)) for count in Counter(image_ids).values())
    assert changes <= groups


def test_batches_hold_few_images(image_ids):
    ids = [f"image{image}" for image in range(50) for _ in range(10)]
    order = list(ImageGroupedSampler(ids, questions_per_image=5, shuffle=True))
    for start in range(0, len(ids), 20):
        assert len({ids[row] for row in order[start : start + 20]}) <= 4


def test_the_order_is_that_of_seed_and_epoch(image_ids):
    def order(seed, epoch):
        sampler = ImageGroupedSampler(image_ids, questions_per_image=4, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert order(1, 1) == orders[3]
    assert len({tuple(found) for found in orders}) == 4


def test_groups_move_and_change_their_members(image_ids):
    sampler = ImageGroupedSampler(["a"] * 6 + ["b"] * 6, questions_per_image=3, shuffle=True)
    partners, firsts, together = set(), set(), 0
    for epoch in range(20):
        sampler.set_epoch(epoch)
        order = list(sampler)
        partners |= {frozenset(order[start : start + 3]) for start in range(0, 12, 3)}
        firsts.add(order[0] < 6)
        together += len({row < 6 for row in order[:6]}) == 1
    assert len(partners) > 10
    assert firsts == {True, False}
    assert together < 15, "an image's groups part"


def test_processes_share_out_the_rows(image_ids):
    sampler = ImageGroupedSampler(image_ids, questions_per_image=4, shuffle=True)
    shards = [BatchSamplerShard(BatchSampler(sampler, 8, drop_last=True), 2, process) for process in (0, 1)]
    rows = [row for shard in shards for batch in shard for row in batch]
    assert len(rows) == len(set(rows)) == len(image_ids) // 16 * 16


def test_accelerate_tells_the_sampler_of_each_epoch(image_ids):
    from accelerate import Accelerator

    sampler = ImageGroupedSampler(image_ids, questions_per_image=4, shuffle=True)
    loader = Accelerator(cpu=True).prepare(DataLoader(list(range(len(image_ids))), batch_size=8, sampler=sampler))
    epochs = [[row for batch in loader for row in batch.tolist()] for _ in range(2)]
    for epoch, rows in enumerate(epochs):
        expected = ImageGroupedSampler(image_ids, questions_per_image=4, shuffle=True)
        expected.set_epoch(epoch)
        assert rows == list(expected)


def test_groups_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        ImageGroupedSampler(["a"], questions_per_image=0)


LENGTHS = [length for length in range(1, 31) for _ in range(7)]  # 210 rows


def length_grouped(rows_a_step, epoch=0, seed=0):
    sampler = LengthGroupedSampler(LENGTHS, rows_a_step, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def steps_of(rows, size):
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@pytest.mark.parametrize("size", [1, 16, 300])
def test_length_groups_visit_every_row_once(size):
    assert sorted(length_grouped(size)) == list(range(len(LENGTHS)))


def test_rows_are_sorted_within_a_step_alone():
    steps = steps_of(length_grouped(32), 32)
    for step in steps:
        lengths = [LENGTHS[row] for row in step]
        assert lengths == sorted(lengths)
    # Grouped across steps, a step's mean would be anything from 1 to 30; by chance it lies near that of all, 15.5.
    means = [sum(LENGTHS[row] for row in step) / len(step) for step in steps[:-1]]
    assert all(10 < mean < 21 for mean in means)


def test_sorted_steps_waste_less_padding():
    batches = steps_of(length_grouped(32), 8)
    padded = sum(max(LENGTHS[row] for row in batch) * len(batch) for batch in batches)
    unsorted = sum(max(LENGTHS[row] for row in batch) * len(batch) for batch in steps_of(length_grouped(1), 8))
    assert padded < 1.3 * sum(LENGTHS) < 1.6 * sum(LENGTHS) < unsorted


def test_the_order_of_length_groups_is_that_of_seed_and_epoch():
    orders = [length_grouped(8, epoch, seed) for seed in (0, 1) for epoch in (0, 1)]
    assert length_grouped(8, 1, 1) == orders[3]
    assert len(set(map(tuple, orders))) == 4
