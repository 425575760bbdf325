import json

import pytest

from amif.training.evaluation import write_json, write_jsonl
from amif.training.evaluation.result_files import read_jsonl


def test_jsonl_is_a_row_a_line(rows, tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_jsonl(path, [*rows, {"prediction": "sténose\nsévère"}])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [*rows, {"prediction": "sténose\nsévère"}]


def test_rows_are_read_as_they_were_written_whatever_separators_their_texts_hold(rows, tmp_path):
    path, separators = tmp_path / "predictions.jsonl", {"question": "one\u2028two\u2029three\x85four\nfive"}
    write_jsonl(path, [*rows, separators])
    assert read_jsonl(path) == [*rows, separators]


def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"n": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"n": float("nan")})
    assert json.loads(path.read_text()) == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
