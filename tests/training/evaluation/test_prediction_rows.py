import json
import math

import pytest
from datasets import Image

from amif.training.evaluation.baselines import baseline_rows
from amif.training.evaluation.prediction_rows import prediction_rows, read_prediction_rows
from amif.training.evaluation.result_files import write_jsonl

CONTRACT = {
    *("question_id", "image_id", "question", "answer", "prediction", "score", "correct", "answer_type", "yes_no")
}
LINE = {"question_id": "7", "image_id": "a", "question": "?", "answer": "yes", "answer_type": "closed"}
LINE |= {"prediction": "no", "score": -0.5, "correct": False, "yes_no": True}


def test_prediction_rows_hold_the_contract(rows):
    assert all(row.json_fields().keys() >= CONTRACT for row in rows)
    assert [row.correct for row in rows] == [True, False, True, False, None]
    assert [row.yes_no for row in rows] == [True, False, False, True, None]
    assert [row.score for row in rows] == [-0.5, -1.0, -2.0, None, None]
    assert [row.prediction for row in rows] == ["yes.", "right", "LIVER", "yes", "axial"]


def test_columns_that_some_data_have_are_kept_with_their_gaps(dataset, tmp_path):
    named = dataset.add_column("organ", ["heart", None, None, None, None])
    rows = prediction_rows(named, ["yes"] * 5)
    assert [row.organ for row in rows] == ["heart", None, None, None, None]
    assert "organ" in rows[1].json_fields()
    assert "modality" not in rows[1].json_fields()
    write_jsonl(tmp_path / "predictions.jsonl", rows)
    assert read_prediction_rows(tmp_path / "predictions.jsonl") == rows


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "predictions.jsonl").write_text(json.dumps(LINE) + "\n")
    (row,) = read_prediction_rows(tmp_path / "predictions.jsonl")
    assert (row.question_id, row.prediction, row.correct, row.question_type) == ("7", "no", False, None)
    assert row.modality is row.organ is row.wording_of is None


def test_prediction_rows_refuse_a_lost_prediction(dataset):
    with pytest.raises(ValueError, match="zip"):
        prediction_rows(dataset, ["yes"] * 4)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_named(dataset, score):
    with pytest.raises(ValueError, match=f"question 2 has the score {score}"):
        prediction_rows(dataset, ["yes"] * 5, [None, score, -1.0, None, None])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question_id": "7", "image', "line 2 cannot be read as JSON"),
        ("5", "row 1 .*is no prediction"),
        ('{"question_id": "7"}', "row 1 .*is no prediction .*'image_id'"),
        (json.dumps(LINE | {"score": math.nan}), "row 1 .*question 7 has the score nan"),
    ],
)
def test_a_line_that_is_no_prediction_is_named(tmp_path, line, message):
    path = tmp_path / "predictions.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n{line}")
    with pytest.raises(ValueError, match=message) as error:
        read_prediction_rows(path)
    assert str(path) in str(error.value)


def test_images_are_not_opened(dataset):
    with_images = dataset.add_column("image", ["/nowhere.png"] * 5).cast_column("image", Image())
    assert len(prediction_rows(with_images, ["yes"] * 5)) == 5
    assert baseline_rows(with_images, with_images)
