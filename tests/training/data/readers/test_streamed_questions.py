"""Questions of shards: training rows as a stream in the schema, their texts in a first pass, evaluation in memory."""

import base64
import io
import json
import tarfile

import PIL.Image
import pytest
from datasets import ClassLabel, Dataset, Features, Image, IterableDataset, Value

from amif.training.data.readers import streamed_questions
from amif.training.data.readers.streamed_questions import load_streamed_questions
from amif.training.data.vqa_rows import VqaStream


def png(grey):
    content = io.BytesIO()
    PIL.Image.new("L", (8, 8), grey).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def write(path, rows, **columns):
    names = {"image": "image", "question": "question", "answer": "answer"} | columns
    table = {own: [row[place] for row in rows] for place, own in enumerate(names.values())}
    Dataset.from_dict(table).to_parquet(path)


def test_training_rows_are_streamed_and_their_texts_read_first(tmp_path):
    for shard in range(2):
        rows = [(png(10 * shard + place), f"what is {place}?", ["Yes", None, "no"][place]) for place in range(3)]
        write(tmp_path / f"train-{shard}.parquet", rows, image="picked", answer="said")
    write(
        tmp_path / "test.parquet", [(png(1), "is it?", "yes"), (png(2), "is it?", "no")], image="picked", answer="said"
    )
    training, splits = load_streamed_questions(tmp_path, image_column="picked", answer_column="said")
    assert isinstance(training, IterableDataset)
    assert training.num_shards == 2
    rows = list(VqaStream(training))
    assert [(row["question"], row["answer"]) for row in rows] == 2 * [("what is 0?", "Yes"), ("what is 2?", "no")]
    assert len({row["image_id"] for row in rows}) == len({row["question_id"] for row in rows}) == 4
    assert splits["train"]["answer"][:] == 2 * ["Yes", None, "no"]
    assert "image" not in splits["train"].column_names
    assert [image.getpixel((0, 0)) for image in splits["test"]["image"]] == [1, 2]


def test_classes_are_answers_by_their_names(tmp_path):
    """As datasets keeps them on the Hub: numbers in the file, -1 for none."""
    rows = {"image": [png(1), png(2), png(3)], "question": ["a?", "b?", "c?"], "answer": [1, 0, -1]}
    kinds = Features({"image": Image(), "question": Value("string"), "answer": ClassLabel(names=["no", "yes"])})
    Dataset.from_dict(rows, features=kinds).to_parquet(tmp_path / "train.parquet")
    training, splits = load_streamed_questions(tmp_path)
    assert [row["answer"] for row in training] == splits["train"]["answer"][:] == ["yes", "no", None]


def test_paths_begin_at_the_folder_of_their_own_split(tmp_path):
    """Also where datasets' image column holds them, and where another table lies beside the shards."""
    for split, grey in (("test", 1), ("train", 2)):
        (tmp_path / split).mkdir()
        (tmp_path / split / "1.png").write_bytes(png(grey)["bytes"])
        rows = {"image": ["1.png"], "question": ["a?"], "answer": ["yes"]}
        Dataset.from_dict(rows).to_parquet(tmp_path / split / "0.parquet")
    (tmp_path / "dataset_infos.json").write_text("{}")
    training, splits = load_streamed_questions(tmp_path)
    (row,) = training
    assert row["image"].getpixel((0, 0)) == 2
    assert splits["test"][0]["image"].getpixel((0, 0)) == 1


def test_keys_of_tar_files_are_questions(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for key in ("q1", "q2"):
            about = json.dumps({"question": f"{key}?", "answer": "yes", "question_id": key}).encode()
            for name, content in ((f"{key}.jpg", png(3)["bytes"]), (f"{key}.json", about)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    training, splits = load_streamed_questions(tmp_path)
    rows = list(training)
    assert [(row["question_id"], row["question"]) for row in rows] == [("q1", "q1?"), ("q2", "q2?")]
    assert rows[0]["image_id"] == rows[1]["image_id"]
    assert splits["train"]["question"][:] == ["q1?", "q2?"]


def test_bad_rows_are_named_or_left_out(tmp_path):
    write(tmp_path / "train.parquet", [(png(1), "is it?", "yes"), (png(2), " ", "no"), (png(3), "was it?", "no")])
    with pytest.raises(ValueError, match=r"the question is empty .* Or leave bad rows out with on_bad_row skip"):
        load_streamed_questions(tmp_path)
    training, splits = load_streamed_questions(tmp_path, on_bad_row="skip")
    assert [row["question"] for row in training] == splits["train"]["question"][:] == ["is it?", "was it?"]
    (tmp_path / "train.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="holds no shards that can be streamed: give Parquet or tar files"):
        load_streamed_questions(tmp_path)


def test_evaluated_questions_have_ids_of_their_own(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path / f"{split}.parquet", [(png(1), "is it?", "yes"), (png(1), "is it?", "no")])
    with pytest.raises(ValueError, match="two validation questions have the id"):
        load_streamed_questions(tmp_path)


def test_columns_of_a_stream_are_named_or_left_out(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(streamed_questions.logger, "warning_once", said.append)
    rows = {"image": [png(1)], "question": ["a?"], "answer": ["yes"], "kind": ["OPEN"], "topic": ["size"]}
    others = {"answer_type": ["number"], "question_type": ["other"], "A": ["yes"], "B": ["no"], "extra": ["x"]}
    Dataset.from_dict(rows | others).to_parquet(tmp_path / "train.parquet")
    training, splits = load_streamed_questions(
        tmp_path, answer_type_column="kind", question_type_column="topic", ignore_columns=["A", "B"]
    )
    (row,) = training
    assert (row["answer_type"], row["question_type"], row.get("choices")) == ("open", "size", None)
    assert splits["train"][0]["answer_type"] == "open"
    assert said == [f"{tmp_path}: columns that are not used: 'extra'."]
    with pytest.raises(ValueError, match=r"no column 'form'.*answer_type_column"):
        load_streamed_questions(tmp_path, answer_type_column="form")


def test_rows_of_several_splits_are_not_streamed_as_training(tmp_path):
    rows = {"image": [png(1), png(2)], "question": ["a?", "b?"], "answer": ["yes", "no"], "split": ["train", "test"]}
    Dataset.from_dict(rows).to_parquet(tmp_path / "questions.parquet")
    with pytest.raises(ValueError, match=r"not parted by its column 'split'.*ignore_columns split"):
        load_streamed_questions(tmp_path)
    assert len(load_streamed_questions(tmp_path, ignore_columns=["split"])[1]["train"]) == 2


def test_texts_in_place_of_images_are_base64_or_one_path(tmp_path):
    """A path that cannot be read would stop a training that runs already."""
    texts = [base64.b64encode(png(7)["bytes"]).decode(), "a.png | b.png"]
    Dataset.from_dict({"image": texts, "question": ["a?", "b?"], "answer": ["yes", "no"]}).to_parquet(
        tmp_path / "train.parquet"
    )
    (row,) = load_streamed_questions(tmp_path, on_bad_row="skip")[0]
    assert row["image"].getpixel((0, 0)) == 7
    with pytest.raises(ValueError, match="it has 2 images: of several, rows are not streamed"):
        list(load_streamed_questions(tmp_path)[0])
