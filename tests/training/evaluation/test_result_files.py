import csv
import hashlib
import json
import subprocess
from dataclasses import replace
from datetime import datetime

import pytest
from small_evaluations import prediction
from started_scripts import python_with_amif

from amif.training.evaluation.metrics import RunFacts
from amif.training.evaluation.partial_predictions import PartialPredictions
from amif.training.evaluation.prediction_files import read_predictions
from amif.training.evaluation.prediction_rows import read_prediction_rows
from amif.training.evaluation.result_files import (
    append_lines,
    append_test_evaluation,
    check_output_folder,
    checkpoint_sha256,
    write_answers_csv,
    write_json,
    write_jsonl,
)
from amif.training.evaluation.results import Interval


def test_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"output folder .*file/out: Not a directory\. Choose another --output_dir"):
        check_output_folder(tmp_path / "file" / "out")


def test_output_folder_that_can_be_written_is_made_and_left_empty(tmp_path):
    check_output_folder(tmp_path / "new" / "out")
    assert not list((tmp_path / "new" / "out").iterdir())


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
    with pytest.raises(ValueError, match="n is not finite"):
        write_json(path, {"n": float("nan")})
    assert json.loads(path.read_text()) == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"confidence": {"brier_score": float("nan")}}, "confidence.brier_score"),
        ([Interval(1.0, float("-inf"), 2.0, 3)], "0.ci95.0"),
        (float("inf"), "The result"),
    ],
)
def test_no_result_holds_nan(tmp_path, content, place):
    with pytest.raises(ValueError, match=f"{place} is not finite.*scores.*weights"):
        write_json(tmp_path / "metrics.json", content)
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_off_stays_apart(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text("one\ncut o")
    append_lines(path, "two\n")
    append_lines(path, "three\n")
    assert path.read_text() == "one\ncut o\ntwo\nthree\n"


LIMITED = """
import json, resource, sys
from pathlib import Path
from amif.training.evaluation.partial_predictions import PartialPredictions
from amif.training.evaluation.result_files import append_lines, replace_file, write_json, write_jsonl

folder, faults = Path(sys.argv[1]), {}
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
many = ["x" * 1000] * 1000
written = PartialPredictions(folder, "print")
for name, call in {
    "metrics.json": lambda: write_json(folder / "metrics.json", many),
    "predictions.jsonl": lambda: write_jsonl(folder / "predictions.jsonl", many),
    "report.html": lambda: replace_file(folder / "report.html", "".join(many)),
    "test_evaluations.jsonl": lambda: append_lines(folder / "test_evaluations.jsonl", "".join(many)),
    "predictions.partial-0.jsonl": lambda: written.append(range(1000), ["q"] * 1000, [(text, -0.5) for text in many]),
}.items():
    try:
        call()
    except OSError as error:
        faults[name] = str(error)
print(json.dumps(faults))
"""
FILES = ("metrics.json", "predictions.jsonl", "report.html", "test_evaluations.jsonl")


def check_that_nothing_is_lost(folder, reason, *limit):
    PartialPredictions(folder, "print").append([1], ["q1"], [("yes", -0.5)])
    for name in FILES:
        (folder / name).write_text("earlier\n")
    before = {path.name: path.read_text() for path in folder.iterdir()}
    done = python_with_amif().run("-c", LIMITED, folder, *limit)
    assert done.returncode == 0, done.stderr
    faults = json.loads(done.stdout)
    assert faults == {
        name: f"{folder / name} could not be written: {reason}; what the file held before is kept, and so are the "
        "answers, in predictions.partial-* beside it. See to free space and permissions there, and start the same "
        "command again, which goes on from them."
        for name in before
    }
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_nothing_is_lost_at_a_limit_of_files(tmp_path):
    check_that_nothing_is_lost(tmp_path, "File too large", "50000")


def test_nothing_is_lost_on_a_full_disk(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs rights of root")
    try:
        check_that_nothing_is_lost(tmp_path, "No space left on device")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


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


def test_answers_as_csv_keep_what_the_questions_file_holds(tmp_path):
    rows = [
        prediction("1", "a.png", prediction='left, "upper" lobe', score=-0.5),
        prediction("2", "b.png", prediction="=1+1"),
    ]
    cells = [{"patient": "007", "prediction": "none", "note": "a\nb"}, {"accession": 3, "patient": None}]
    write_answers_csv(tmp_path / "p.csv", rows, list(map(json.dumps, cells)))
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    asked = {"question": "?", "image_id": "a.png", "question_id": "1"}
    own = {"prediction": 'left, "upper" lobe', "score": "-0.5"}
    assert first == asked | own | {"patient": "007", "input_prediction": "none", "note": "a\nb", "accession": ""}
    assert (second["prediction"], second["patient"], second["accession"], second["score"]) == ("=1+1", "", "3", "")
    assert read_predictions(tmp_path / "p.csv")["1"].answer == 'left, "upper" lobe'
