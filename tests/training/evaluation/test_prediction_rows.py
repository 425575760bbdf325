import pytest
from datasets import Image

from amif.training.evaluation.baselines import baseline_rows
from amif.training.evaluation.prediction_rows import prediction_rows

CONTRACT = {
    *("question_id", "image_id", "question", "answer", "prediction", "score", "correct", "answer_type", "yes_no")
}


def test_prediction_rows_hold_the_contract(rows):
    assert all(row.json_fields().keys() >= CONTRACT for row in rows)
    assert [row.correct for row in rows] == [True, False, True, False, None]
    assert [row.yes_no for row in rows] == [True, False, False, True, None]
    assert [row.score for row in rows] == [-0.5, -1.0, -2.0, None, None]
    assert [row.prediction for row in rows] == ["yes.", "right", "LIVER", "yes", "axial"]


def test_prediction_rows_refuse_a_lost_prediction(dataset):
    with pytest.raises(ValueError, match="zip"):
        prediction_rows(dataset, ["yes"] * 4)


def test_images_are_not_opened(dataset):
    with_images = dataset.add_column("image", ["/nowhere.png"] * 5).cast_column("image", Image())
    assert len(prediction_rows(with_images, ["yes"] * 5)) == 5
    assert baseline_rows(with_images, with_images)
