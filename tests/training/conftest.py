import numpy as np
import pytest
from small_evaluations import table

from amif.training.evaluation.baselines import baseline_rows
from amif.training.evaluation.fingerprint import evaluation_fingerprint
from amif.training.evaluation.metrics import build_metrics
from amif.training.evaluation.prediction_rows import prediction_rows


@pytest.fixture
def dataset():
    return table(
        ("1", "a", "Is it enlarged?", "Yes", "closed", "size"),
        ("2", "a", "Left or right?", "left", "closed", "position"),
        ("3", "b", "Which organ?", "liver", "open", "organ"),
        ("4", "b", "Is it clear?", "no", "closed", None),
        ("5", "c", "Which plane?", None, "open", "plane"),
    )


@pytest.fixture
def rows(dataset):
    return prediction_rows(dataset, ["yes.", "right", "LIVER", "yes", "axial"], [-0.5, -1, np.float32(-2), None, None])


@pytest.fixture
def metrics(rows, dataset):
    return build_metrics(
        rows,
        protocol="paper",
        dataset_name="tiny",
        split="test",
        baselines=baseline_rows(dataset, dataset),
        fingerprint=evaluation_fingerprint(rows, protocol="paper", seed=3, command="run_vqa.py --seed 3"),
    )
