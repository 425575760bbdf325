import random
from collections import Counter

import pytest
from datasets import Dataset, DatasetDict

from amif.training.data.schema import build_vqa_dataset
from amif.training.data.splits import (
    NUM_FOLDS,
    add_validation,
    default_eval_split,
    evaluated_split,
    split_by_image,
    split_fold,
)


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


@pytest.mark.parametrize("seed", range(3))
def test_folds_hold_each_row_once_and_no_image_twice(seed):
    dataset = questions(60, seed=seed)
    held, images = Counter(), Counter()
    for fold in range(1, NUM_FOLDS + 1):
        train, validation = split_fold(dataset, fold, seed)
        assert sorted([*train["question_id"], *validation["question_id"]]) == sorted(dataset["question_id"])
        assert abs(len(validation) - len(dataset) / NUM_FOLDS) < 12
        held.update(validation["question_id"])
        images.update(set(validation["image_id"]))
    assert held == Counter(dataset["question_id"])
    assert images == Counter(set(dataset["image_id"]))


def test_a_fold_does_not_depend_on_the_order_of_rows():
    dataset = questions(40)
    _, once = split_fold(dataset, 2, 0)
    _, again = split_fold(dataset.select(reversed(range(len(dataset)))), 2, 0)
    assert set(once["image_id"]) == set(again["image_id"])


def test_folds_that_cannot_be_made_are_refused():
    with pytest.raises(ValueError, match="validation_fold must lie between 1 and 5, got 0"):
        split_fold(questions(20), 0, 0)
    with pytest.raises(ValueError, match="5 folds by image need 5 images or more, got 4"):
        split_fold(questions(4), 1, 0)


def test_validation_is_added_only_where_it_can_and_must():
    dataset = questions(20)
    assert list(add_validation(DatasetDict(train=dataset, test=dataset))) == ["train", "validation", "test"]
    for splits in ({"train": dataset, "validation": dataset}, {"test": dataset}, {"train": questions(1)}):
        assert add_validation(DatasetDict(splits)) == DatasetDict(splits)


def test_test_is_evaluated_where_it_has_answers():
    answered, unanswered = (build_vqa_dataset([{"answer": None}, {"answer": last}]) for last in ("yes", None))
    pairs = Dataset.from_dict({"text": ["clear"]})
    assert default_eval_split({"validation": answered, "test": answered}) == "test"
    assert default_eval_split({"validation": answered, "test": unanswered}) == "validation"
    assert default_eval_split({"test": unanswered}) == "test"
    assert default_eval_split({"train": answered, "validation": answered}) == "validation"
    assert default_eval_split({"validation": pairs, "test": pairs}) == "test"
    assert evaluated_split({"train": pairs, "test": pairs}, "train", "own") == "train"
    with pytest.raises(ValueError, match="own has no split 'dev'; it has test"):
        evaluated_split({"test": pairs}, "dev", "own")
