import random

import pytest
from datasets import DatasetDict

from amif.training.data.schema import build_vqa_dataset
from amif.training.data.splits import add_validation, split_by_image


def questions(images, per_image=None, seed=0):
    draw = random.Random(seed)
    ids = [f"image{i}" for i in range(images) for _ in range(per_image or draw.randint(1, 12))]
    draw.shuffle(ids)
    return build_vqa_dataset([{"image_id": name, "question_id": str(row)} for row, name in enumerate(ids)])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.5])
def test_images_are_disjoint_rows_complete_and_the_share_right(seed, fraction):
    dataset = questions(60, seed=seed)
    train, validation = split_by_image(dataset, fraction, seed)
    assert not set(train["image_id"]) & set(validation["image_id"])
    assert sorted([*train["question_id"], *validation["question_id"]]) == sorted(dataset["question_id"])
    assert fraction * len(dataset) <= len(validation) < fraction * len(dataset) + 12


def test_the_seed_alone_decides():
    dataset = questions(40)
    _, once = split_by_image(dataset, 0.2, 3)
    _, again = split_by_image(dataset.select(reversed(range(len(dataset)))), 0.2, 3)
    _, other = split_by_image(dataset, 0.2, 4)
    assert set(once["image_id"]) == set(again["image_id"]) != set(other["image_id"])


def test_rows_keep_their_order():
    train, validation = split_by_image(questions(20), 0.3, 0)
    for part in (train, validation):
        assert list(part["question_id"]) == sorted(part["question_id"], key=int)


def test_two_images_part_and_one_cannot():
    train, validation = split_by_image(questions(2, per_image=3), 0.9, 0)
    assert (len(train), len(validation)) == (3, 3)
    with pytest.raises(ValueError, match="two images"):
        split_by_image(questions(1), 0.5, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_by_image(questions(2), 1.0, 0)


def test_validation_is_added_only_where_it_can_and_must():
    dataset = questions(20)
    assert list(add_validation(DatasetDict(train=dataset, test=dataset))) == ["train", "validation", "test"]
    for splits in ({"train": dataset, "validation": dataset}, {"test": dataset}, {"train": questions(1)}):
        assert add_validation(DatasetDict(splits)) == DatasetDict(splits)
