import pickle
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as Images
from small_sets import path_vqa_row, write_path_vqa

from amif.training.data.readers.path_vqa import load_path_vqa, read_plain_pickle


def qa_row(split):
    return {"image": f"{split}_0001", "question": "Is it benign?", "answer": "Yes"}


@pytest.mark.parametrize("where", ["{split}_vqa.pkl", "{split}_vqa.json"])
def test_release_with_question_ids(tmp_path, where):
    write_path_vqa(tmp_path / "pvqa", lambda split: [path_vqa_row(split), path_vqa_row(split, 1)], where)
    splits = load_path_vqa(tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    row = splits["validation"][1]
    assert row.pop("image").getpixel((0, 0)) == 3
    assert row == {
        "question": "Where is it, 1?",
        "answer": "the liver",
        "answer_type": None,
        "question_type": "where",
        "image_id": "val_0001",
        "question_id": "100001",
    }


@pytest.mark.parametrize("where", ["{split}/{split}_qa.pkl", "{split}_qa.json"])
def test_release_of_plain_questions(tmp_path, where):
    splits = load_path_vqa(write_path_vqa(tmp_path, lambda split: [qa_row(split)] * 2, where))
    assert splits["test"]["answer"] == ["Yes", "Yes"]
    # The release repeats rows; each keeps an id of its own.
    assert splits["test"]["question_id"] == ["test_0001|Is it benign?", "test_0001|Is it benign?|2"]


def test_hub_mirror(tmp_path):
    features = Features({"image": Image(), "question": Value("string"), "answer": Value("string")})
    (tmp_path / "data").mkdir()
    for split, shade in (("train", 1), ("validation", 2), ("test", 3)):
        rows = {"image": [Images.new("L", (4, 4), shade)] * 2, "question": ["a?", "b?"], "answer": ["yes", "no"]}
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "data" / f"{split}-00000-of-00001-a.parquet")
    splits = load_path_vqa(tmp_path)
    assert len(set(splits["test"]["image_id"])) == 1
    assert splits["test"][1]["image"].getpixel((0, 0)) == 3
    with pytest.raises(ValueError, match=r"path_vqa \(mirror\) train: 2 rows, published 19654"):
        load_path_vqa(tmp_path, strict=True)


def test_strict_refuses_a_damaged_copy(tmp_path):
    write_path_vqa(tmp_path, lambda split: [path_vqa_row(split)])
    with pytest.raises(ValueError, match=r"path_vqa \(release\).*test: 1 rows, published 6761"):
        load_path_vqa(tmp_path, strict=True)


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return subprocess.check_call, (["touch", str(self.marker)],)


def test_a_pickle_runs_nothing(tmp_path):
    marker = tmp_path / "was_run"
    write_path_vqa(tmp_path, lambda split: [Attack(marker)])
    with pytest.raises(ValueError, match=r"train_vqa\.pkl .*asks for subprocess\.check_call"):
        load_path_vqa(tmp_path)
    assert not marker.exists()
    pickle.loads((tmp_path / "qas" / "train_vqa.pkl").read_bytes())
    assert marker.exists(), "the attack works where pickle itself reads"


@pytest.mark.parametrize("content", [b"", b"\x80", b"cos\nsystem\n.", pickle.dumps([Path("a")])])
def test_other_pickles(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pkl cannot be read as a pickle of plain"):
        read_plain_pickle(tmp_path / "a.pkl")


def test_bad_rows(tmp_path):
    rows = [{"img_id": "train_0001", "sent": "?"}, {**path_vqa_row("train"), "label": {}}, path_vqa_row("train"), 3]
    write_path_vqa(tmp_path, lambda split: rows if split == "train" else [path_vqa_row(split)])
    with pytest.raises(ValueError, match=r"train_vqa\.pkl: row 1 .*label is \{\}"):
        load_path_vqa(tmp_path)
    assert len(load_path_vqa(tmp_path, on_bad_row="skip")["train"]) == 2


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match="images"):
        load_path_vqa(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "qas").mkdir()
    with pytest.raises(FileNotFoundError, match=r"train_vqa\.pkl or train_vqa\.json or train/train_qa\.pkl"):
        load_path_vqa(tmp_path)


def test_a_small_pickle_cannot_ask_for_much_memory(tmp_path):
    """Nine bytes that store None at place 2 ** 25 of the reader's memo."""
    file = tmp_path / "train_vqa.pkl"
    file.write_bytes(b"\x80\x04Nr\x00\x00\x00\x02.")
    tracemalloc.start()
    try:
        assert read_plain_pickle(file) is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
