import json

import pytest
from sklearn.metrics import accuracy_score

from amif.processing_amif.answer_normalization_amif import normalize_answer
from amif.training.evaluation.accuracy import VqaAccuracy


def test_metric_agrees_with_scikit_learn_on_normal_forms(data_dir):
    rows = json.loads((data_dir / "slake" / "validate.json").read_text(encoding="utf-8"))
    references = [row["answer"] for row in rows if row["q_lang"] == "en"]
    predictions = [answer.upper() if index % 3 else "Lung" for index, answer in enumerate(references)]
    expected = accuracy_score(*([normalize_answer(text) for text in side] for side in (references, predictions)))
    result = VqaAccuracy().compute(predictions=predictions, references=references)
    assert result == {"accuracy": pytest.approx(100 * expected), "n": len(references)}
    assert 50 < result["accuracy"] < 100


def test_metric_leaves_questions_without_a_reference_out():
    result = VqaAccuracy().compute(predictions=["yes", "ct", "2"], references=[None, "mri", 2])
    assert result == {"accuracy": 50.0, "n": 2}


def test_any_of_several_right_answers_counts():
    references = [["CT", "computed tomography"], ["no", "none"], [2], None]
    result = VqaAccuracy().compute(predictions=["Computed tomography.", "yes", "2", "x"], references=references)
    assert result == {"accuracy": pytest.approx(200 / 3), "n": 3}


def test_metric_without_any_reference_has_no_accuracy():
    assert VqaAccuracy().compute(predictions=["yes", "ct"], references=[None, None]) == {"accuracy": None, "n": 0}


def test_metric_refuses_lists_of_different_lengths():
    with pytest.raises(ValueError, match="Mismatch"):
        VqaAccuracy().compute(predictions=["yes"], references=["yes", "no"])
