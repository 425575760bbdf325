import json

import pytest

from amif.training.evaluation import build_metrics, write_json


def test_metrics_hold_the_contract_and_survive_json(metrics, tmp_path):
    contract = "protocol dataset split n overall by_answer_type by_yes_no by_question_type baselines fingerprint"
    assert set(metrics) >= set(contract.split())
    write_json(tmp_path / "metrics.json", metrics)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics


def test_unknown_protocol_is_refused(rows):
    with pytest.raises(ValueError, match="oracle"):
        build_metrics(rows, protocol="oracle", dataset_name="t", split="test", baselines={}, fingerprint={})
