import json

import pytest
from PIL import Image

from amif.training.data.arguments import VqaDataArguments, VqaSourceArguments


@pytest.fixture
def write_file(tmp_path):
    """Writes a file of training questions, each about an image of its own."""

    def write(*questions):
        for number, _ in enumerate(questions):
            Image.new("L", (4, 4), number).save(tmp_path / f"{number}.png")
        rows = [{"image": f"{n}.png", "question": text, "answer": "yes"} for n, text in enumerate(questions)]
        (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return str(tmp_path / "train.jsonl")

    return write


def test_columns_are_those_of_own_data_alone():
    named = {"image_column": "file", "answer_column": "label"}
    assert VqaDataArguments(dataset="own.csv", **named).reader_options == named
    assert VqaDataArguments(dataset="slake", language="zh").reader_options == {"language": "zh"}
    with pytest.raises(ValueError, match="--image_column, --answer_column: for your own data, and slake has its own"):
        _ = VqaDataArguments(dataset="slake", **named).reader_options


def test_splits_as_the_source_has_them_or_with_validation_as_told(write_file):
    file = write_file(*["is it large"] * 20)
    assert set(VqaSourceArguments(file).load()) == {"train"}
    assert set(VqaDataArguments(file, validation_by="none").load_splits()) == {"train"}
    assert len(VqaDataArguments(file).load_splits()["validation"]) == 3
    fold = VqaDataArguments(file, validation_fold=2)
    assert fold.validation_made_by == "image --validation_fold 2"
    assert len(fold.load_splits()["validation"]) == 4
    with pytest.raises(ValueError, match="validation_fold 2 makes a validation split"):
        VqaDataArguments(file, validation_by="none", validation_fold=2).load_splits()


def test_bad_rows_stop_unless_they_are_skipped(write_file):
    file = write_file("is it large", "")
    with pytest.raises(ValueError, match="the question is empty"):
        VqaSourceArguments(file).load()
    assert len(VqaSourceArguments(file, on_bad_row="skip").load()["train"]) == 1
