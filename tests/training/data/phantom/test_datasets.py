import os
import sys

import datasets
import pytest
from phantom_rows import columns, image_bytes

from amif.training.data.phantom import datasets as phantom
from amif.training.data.phantom.datasets import load_phantom_pretraining, load_phantom_vqa, phantom_vqa_sentences

SPLITS = ("train", "validation", "test")


def test_schema(vqa):
    row = vqa["train"][0]
    assert row["image"].size == (96, 96)
    assert row["image"].mode == "L"
    expected = "image question answer answer_type question_type image_id question_id template modality organ box"
    assert set(vqa["test"].column_names) == set(expected.split())
    assert isinstance(vqa["test"].features["image"], datasets.Image)
    for split in SPLITS:
        for answer, answer_type in columns(vqa[split], "answer", "answer_type"):
            assert answer == answer.lower().strip()
            assert answer_type == ("closed" if answer in ("yes", "no") else "open")


def test_same_seed_same_bytes():
    first, again, other = (load_phantom_vqa(num_studies=12, seed=seed)["train"] for seed in (3, 3, 4))
    assert image_bytes(first) == image_bytes(again)
    assert first.remove_columns("image").to_list() == again.remove_columns("image").to_list()
    assert not set(image_bytes(first)) & set(image_bytes(other))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one process draws")
def test_any_number_of_processes_draws_the_same(monkeypatch):
    drawn, drawers = {}, {}
    # The process that drew an image is told by its name, which nothing else of a row depends on.
    monkeypatch.setattr(phantom, "encode_png", lambda image: {"bytes": image.tobytes(), "path": str(os.getpid())})
    for cores in (1, 3):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        rows = load_phantom_vqa(num_studies=120, image_size=32)["train"]
        images = rows.cast_column("image", datasets.Image(decode=False))["image"]
        drawers[cores] = {image["path"] for image in images}
        drawn[cores] = rows.remove_columns("image").to_list(), [image["bytes"] for image in images]
    assert drawn[1] == drawn[3]
    assert drawers[1] == {str(os.getpid())}
    assert not drawers[1] & drawers[3]


def test_smaller_set_is_part_of_larger():
    small, large = load_phantom_vqa(num_studies=20), load_phantom_vqa(num_studies=60)
    for split in SPLITS:
        count = len(small[split])
        assert count < len(large[split])
        assert image_bytes(small[split]) == image_bytes(large[split].select(range(count)))
        assert small[split]["question"] == large[split]["question"][:count]


def test_splits_share_no_study_and_no_image(vqa):
    ids = {split: set(vqa[split]["image_id"]) for split in SPLITS}
    assert {split: len(ids[split]) for split in SPLITS} == {"train": 252, "validation": 36, "test": 72}
    images = {split: set(image_bytes(vqa[split])) for split in SPLITS}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not ids[one] & ids[other]
        assert not images[one] & images[other]
    question_ids = [question_id for split in SPLITS for question_id in vqa[split]["question_id"]]
    assert len(question_ids) == len(set(question_ids))


def test_both_loaders_split_alike(vqa):
    reports = load_phantom_pretraining(num_studies=360, image_size=16)
    for split in SPLITS:
        assert set(reports[split]["study_id"]) == set(vqa[split]["image_id"])


def test_vqa_sentences_are_those_of_the_training_questions(vqa):
    pairs = columns(vqa["train"], "question", "answer")
    assert phantom_vqa_sentences(num_studies=360) == [text for pair in pairs for text in pair]


def test_too_few_studies():
    with pytest.raises(ValueError, match="at least 3 studies"):
        load_phantom_vqa(num_studies=2)
    assert all(len(split) for split in load_phantom_vqa(num_studies=3).values())
