"""Rows that cannot be used, as they come in people's own files: each is named, or skipped and listed."""

import json
import random

import numpy as np
import pytest
from PIL import Image as Images

from amif.training.data import load_vqa_dataset
from amif.training.data.readers import bad_rows as bad_rows_module
from amif.training.data.readers.bad_rows import BadRows, RowSource, missing_images


def truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Images.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(("given", "raised"), [(ValueError, ValueError), (FileNotFoundError, FileNotFoundError)])
def test_a_bad_row_is_named_or_listed(given, raised, monkeypatch):
    with pytest.raises(raised, match=r"^own\.csv: row 3 \(counted from 0\): it is odd\. .*on_bad_row='skip'"):
        BadRows().add("own.csv", 3, given("it is odd."))
    said = []
    monkeypatch.setattr(bad_rows_module.logger, "warning", said.append)
    bad_rows = BadRows("skip")
    bad_rows.report()
    bad_rows.add("own.csv", 3, given("it is odd."))
    bad_rows.report()
    assert said == ["1 bad rows are left out:\nown.csv: row 3 (counted from 0): it is odd."]


def test_on_bad_row_is_checked():
    with pytest.raises(ValueError, match="one of error, skip, got 'ignore'"):
        BadRows("ignore")


def test_published_sets_take_it_too(tmp_path):
    (tmp_path / "images").mkdir()
    Images.new("L", (4, 4)).save(tmp_path / "images" / "a.jpg")
    truncated(tmp_path / "images" / "b.jpg")
    row = {"question": "Is it?", "answer": "Yes", "answer_type": "CLOSED"}
    rows = [
        {**row, "qid": 1, "image_name": "a.jpg"},
        {**row, "qid": 1, "image_name": "a.jpg"},
        {**row, "qid": 2, "image_name": "b.jpg"},
        {**row, "qid": 3, "image_name": "c.jpg"},
        {"question": "No id?", "image_name": "a.jpg"},
    ]
    (tmp_path / "trainset.json").write_text(json.dumps(rows))
    (tmp_path / "testset.json").write_text(json.dumps(rows[:1]))
    with pytest.raises(ValueError, match=r"trainset\.json: row 4 .*no column 'qid'; it has question, image_name"):
        load_vqa_dataset("vqa_rad", tmp_path)
    splits = load_vqa_dataset("vqa_rad", tmp_path, on_bad_row="skip")
    assert [len(splits["train"]), len(splits["test"])] == [1, 1]


def test_missing_images_are_counted_and_folders_listed_once(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").touch()
    rows = {number: {"image": str(tmp_path / name)} for number, name in enumerate(("a.jpg", "b.jpg", "c/a.jpg"))}
    with pytest.raises(FileNotFoundError, match=r"rows\.json: row 1 .*b\.jpg.*2 of 3"):
        RowSource(tmp_path / "rows.json", BadRows()).with_present_images(rows)
    listed = []
    monkeypatch.setattr(bad_rows_module.os, "listdir", lambda folder: listed.append(folder) or ["a.jpg"])
    assert missing_images([str(tmp_path / "a.jpg")] * 50) == set()
    assert listed == [tmp_path]


class CountedIds(dict):
    """Ids that count how often one is looked up."""

    lookups = 0

    def __contains__(self, key):
        self.lookups += 1
        return super().__contains__(key)


def repeated_rows(seed):
    """Few questions about few images: some end as the ids of repetitions do, some have ids of their own."""
    chance = random.Random(seed)
    rows = {}
    for number in range(300):
        question = chance.choice(["Is it?", "Is it?|2", "Is it?|3", "Where?"])
        own = f"own {number}" if chance.random() < 0.1 else None
        rows[number] = {"image_id": chance.choice("ab"), "question": question, "question_id": own}
        rows[number]["split"] = chance.choice(["train", None])
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_repetitions_are_numbered_as_by_counting_from_two_each_time(seed):
    expected = []
    for row in repeated_rows(seed).values():
        wanted = f"{row['image_id']}|{row['question']}"
        names = [row["question_id"] or wanted, *(f"{wanted}|{number}" for number in range(2, 400))]
        expected.append(next((row["split"], name) for name in names if (row["split"], name) not in expected))
    found = RowSource("own.csv", BadRows()).with_question_ids(repeated_rows(seed), {})
    assert [(row["split"], row["question_id"]) for row in found.values()] == expected


def test_a_question_asked_again_and_again_costs_a_few_lookups_each_time():
    rows = {number: {"image_id": "a", "question": "Is it?", "question_id": None} for number in range(2_000)}
    taken = CountedIds()
    RowSource("own.csv", BadRows()).with_question_ids(rows, taken)
    assert taken.lookups < 3 * len(rows)
