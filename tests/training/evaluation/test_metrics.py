import json

import pytest

from amif.training.evaluation.baselines import baseline_rows
from amif.training.evaluation.fingerprint import evaluation_fingerprint
from amif.training.evaluation.metrics import build_metrics
from amif.training.evaluation.prediction_rows import prediction_rows
from amif.training.evaluation.result_files import write_json
from amif.training.evaluation.significance import compare_predictions

FINGERPRINT = evaluation_fingerprint([], protocol="clean", seed=0, command="c")


def test_metrics_hold_the_contract_and_survive_json(metrics, tmp_path):
    contract = "protocol dataset split n overall by_answer_type by_yes_no by_question_type baselines fingerprint"
    write_json(tmp_path / "metrics.json", metrics)
    written = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert set(written) >= set(contract.split())
    overall = metrics.scores.overall
    assert written["overall"] == {"accuracy": overall.value, "ci95": [overall.low, overall.high], "n": overall.n}
    assert written["n"] == metrics.scores.n
    assert written["fingerprint"]["normalizer"]["name"] == metrics.fingerprint.normalizer.name


def test_what_is_above_the_question_alone_is_a_paired_difference(metrics, rows, dataset):
    comparison = compare_predictions(rows, baseline_rows(dataset, dataset)["question_only"])
    assert metrics.above_question_only == comparison.difference
    assert metrics.above_question_only.value == -50
    assert metrics.baselines["question_only"].value == 100
    assert metrics.above_question_and_kind is None, "the data name no modality and no organ"
    assert "question_and_kind" not in metrics.baselines


def test_what_is_above_question_and_kind(dataset):
    # The same question twice, about two organs: the kind gives away what the question does not.
    twice = dataset.select([0, 1, 1, 0]).remove_columns("question").add_column("question", ["Is it large?"] * 4)
    twice = twice.add_column("organ", ["heart", "lung", "lung", "heart"])
    rows = prediction_rows(twice, ["yes", "left", "right", "yes"])
    metrics = build_metrics(
        rows,
        protocol="clean",
        dataset_name="tiny",
        split="test",
        baselines=baseline_rows(twice, twice),
        fingerprint=FINGERPRINT,
    )
    assert metrics.baselines["question_and_kind"].value == 100
    assert metrics.baselines["question_only"].value == 50
    assert metrics.above_question_and_kind.value == -25
    assert metrics.above_question_only.value == 25


def test_unknown_protocol_is_refused(rows):
    with pytest.raises(ValueError, match="oracle"):
        build_metrics(rows, protocol="oracle", dataset_name="t", split="test", baselines={}, fingerprint=FINGERPRINT)
