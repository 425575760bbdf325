import hashlib
import json
from dataclasses import replace
from datetime import datetime

import pytest

from amif.training.evaluation.metrics import RunFacts
from amif.training.evaluation.prediction_rows import read_prediction_rows
from amif.training.evaluation.result_files import (
    append_test_evaluation,
    checkpoint_sha256,
    write_json,
    write_jsonl,
)


def test_jsonl_is_a_row_a_line(rows, tmp_path):
    path = tmp_path / "predictions.jsonl"
    last = {"prediction": "sténose\nsévère"}
    write_jsonl(path, [*rows, last])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [*(row.json_fields() for row in rows), last]


def test_rows_are_read_as_they_were_written_whatever_separators_their_texts_hold(rows, tmp_path):
    path = tmp_path / "predictions.jsonl"
    separators = replace(rows[0], question="one\u2028two\u2029three\x85four\nfive")
    write_jsonl(path, [*rows, separators])
    assert read_prediction_rows(path) == [*rows, separators]


def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"n": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"n": float("nan")})
    assert json.loads(path.read_text()) == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_test_evaluations_accumulate_with_the_checkpoints_hash(metrics, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    append_test_evaluation(tmp_path, metrics)
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    append_test_evaluation(tmp_path, replace(metrics, run=RunFacts("blank", refit=False)))
    first, second = map(json.loads, (tmp_path / "test_evaluations.jsonl").read_text().splitlines())
    assert first["checkpoint_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert second["checkpoint_sha256"] == hashlib.sha256(b"other weights").hexdigest()
    assert (first["ablate_image"], second["ablate_image"]) == (None, "blank")
    assert (first["protocol"], first["dataset"], first["n"]) == ("paper", "tiny", 5)
    assert first["result"] == {"accuracy": 50.0, "ci95": list(metrics.scores.overall.ci95), "n": 4}
    assert datetime.fromisoformat(first["date"]).utcoffset().total_seconds() == 0


def test_the_log_may_lie_apart_from_the_weights(metrics, tmp_path):
    weights, log = tmp_path / "cache", tmp_path / "out"
    for folder in (weights, log):
        folder.mkdir()
    (weights / "model.safetensors").write_bytes(b"weights")
    append_test_evaluation(log, metrics, weights)
    entry = json.loads((log / "test_evaluations.jsonl").read_text())
    assert entry["checkpoint_sha256"] == checkpoint_sha256(weights)
    assert [file.name for file in weights.iterdir()] == ["model.safetensors"]


def test_every_shard_counts_in_the_checkpoints_hash(tmp_path):
    with pytest.raises(FileNotFoundError, match="safetensors"):
        checkpoint_sha256(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"two")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"one")
    assert checkpoint_sha256(tmp_path) == hashlib.sha256(b"onetwo").hexdigest()
