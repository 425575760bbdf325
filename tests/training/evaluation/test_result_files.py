import json

import pytest

from amif.training.evaluation import write_json, write_jsonl


def test_jsonl_is_a_row_a_line(rows, tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_jsonl(path, [*rows, {"prediction": "sténose\nsévère"}])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [*rows, {"prediction": "sténose\nsévère"}]


def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"n": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"n": float("nan")})
    assert json.loads(path.read_text()) == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
