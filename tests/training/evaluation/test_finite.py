"""No measure takes NaN or infinity for a number."""

import math

import numpy as np
import pytest
import torch
from small_evaluations import prediction

from amif.training.evaluation.bootstrap import bootstrap_ci95
from amif.training.evaluation.classification import classification_metrics
from amif.training.evaluation.confidence import confidence_measures
from amif.training.evaluation.finite import check_finite
from amif.training.evaluation.linear_probe import fit_linear_probe
from amif.training.evaluation.prediction_rows import Prediction
from amif.training.evaluation.retrieval import retrieval_metrics

IDS = ["a", "b", "c", "d"]
TARGETS = np.eye(2, dtype=bool)[[0, 1, 0, 1]]


def of_features(numbers):
    return fit_linear_probe(np.ones((4, 2)), TARGETS, numbers, TARGETS, several=False)


MEASURES = {
    "values of c": lambda numbers: bootstrap_ci95(numbers[:, 1], IDS),
    "scores of c": lambda numbers: classification_metrics(TARGETS, numbers, ["x", "y"], IDS),
    "features of validation image 2": of_features,
    "embeddings of the image of c": lambda numbers: retrieval_metrics(
        torch.tensor(numbers), torch.ones(4, 2), IDS, IDS
    ),
    "embeddings of the report of c": lambda numbers: retrieval_metrics(
        torch.ones(4, 2), torch.tensor(numbers), IDS, IDS
    ),
}


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("named", MEASURES)
def test_what_holds_it_is_named(named, broken):
    numbers = np.ones((4, 2))
    numbers[2, 1] = broken
    with pytest.raises(ValueError, match=f"The {named}, and of 1 of 4 in all, hold NaN or infinity.*weights"):
        MEASURES[named](numbers)
    check_finite(np.ones((4, 2, 3)), IDS, "scores")


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_none_is_named(score):
    line = prediction("q7", answer="yes", prediction="no", correct=False).json_fields()
    assert Prediction.from_json(line).score is None
    with pytest.raises(ValueError, match=f"question q7 has the score {score}.*weights.*or give no score"):
        Prediction.from_json({**line, "score": score})


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf])
def test_a_threshold_that_is_none_is_named(threshold):
    with pytest.raises(ValueError, match=f"abstention is {threshold}: give a log-likelihood"):
        confidence_measures([prediction(score=-0.5, correct=True)], threshold)
