"""The cross-validation script as a user starts it, at the smallest size there is."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from started_scripts import run_script

from amif.training.distributed import only_run_in

ROOT = Path(__file__).parents[2]
RECIPE = """
image_column: image
question_column: question
answer_column: answer
image_size: 32
hidden_size: 32
num_co_attention_layers: 1
max_steps: 1
disable_tqdm: true
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "questions").mkdir()
    with open(tmp_path / "questions" / "train.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "question", "answer"])
        for image in range(10):
            Image.new("L", (32, 32), 25 * image).save(tmp_path / "questions" / f"{image}.png")
            writer.writerow([f"{image}.png", "is it dark?", "yes" if image < 5 else "no"])
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def run(folder, script, *words):
    return run_script(script, *words, folder=folder)


ARGUMENTS = ["--recipe", "tiny.yaml", "--arguments", "dataset=questions", "seed=7", "--output_dir"]


def cross_validate(folder, output="out"):
    return run(folder, "cross_validate.py", *ARGUMENTS, output)


def test_five_folds_are_trained_once_and_measured_together(folder):
    first = cross_validate(folder)
    assert first.returncode == 0, first.stderr
    assert "10 runs to do" in first.stderr
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert (metrics["n"], metrics["split"], metrics["fingerprint"]["seed"]) == (10, "5 folds by image", 7)
    assert [fold["n"] for fold in metrics["folds"]] == [2] * 5
    predictions = [json.loads(line) for line in (folder / "out" / "predictions.jsonl").read_text().splitlines()]
    assert len({row["question_id"] for row in predictions}) == 10
    for record in (folder / "out").glob("fold-*/record.json"):
        asked = [json.loads(line) for line in (record.parent / "predictions.jsonl").read_text().splitlines()]
        log = (record.parent / "log.txt").read_text()
        assert "questions train: 8 questions, 8 images" in log
        assert len(asked) == 2
    assert "the model less question_only, the same 10 questions" in first.stdout
    assert "the model less blank_images, the same 10 questions" in first.stdout

    second = cross_validate(folder)
    assert "0 runs to do" in second.stderr
    assert json.loads((folder / "out" / "metrics.json").read_text()) == metrics
    assert second.stdout == first.stdout

    columns = ["--image_column", "image", "--question_column", "question", "--answer_column", "answer"]
    shutil.copy(folder / "out" / "predictions.jsonl", folder / "again.jsonl")  # a file is not compared with itself
    scored = run(
        *(folder, "evaluate_predictions.py", "--dataset", "questions", *columns),
        *("--split", "train", "--validation_by", "none"),
        *("--predictions", "out/predictions.jsonl", "--compare", "again.jsonl"),
    )
    assert scored.returncode == 0, scored.stderr
    again = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert again["overall"] == metrics["overall"]
    assert (again["comparison"]["n"], again["comparison"]["difference"]) == (10, 0)


@pytest.mark.slow
def test_a_killed_one_loses_nothing_and_ends_as_one_that_was_not(folder):
    """SIGKILL in the middle of a chain; a second process beside it is refused, a third goes on."""
    whole = cross_validate(folder, "whole")
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, str(ROOT / "examples" / "cross_validate.py"), *ARGUMENTS, "out"]
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command, cwd=folder, **nowhere)
    running: list[Path] = []
    while (len(records(folder)) < 2 or not running) and first.poll() is None:
        time.sleep(0.05)
        running = [path for path in (folder / "out").glob("fold*") if not (path / "record.json").is_file()]
    assert first.poll() is None
    first.send_signal(signal.SIGSTOP)  # so that it is at work, however long another one takes to start
    second = cross_validate(folder)
    assert second.returncode == 1
    assert (
        "cross_validate.py: error: Another run is at work in the output folder out: wait until it has" in second.stderr
    )
    first.kill()
    first.wait()
    done = records(folder)
    for path in (folder / "out").glob("fold*"):
        with only_run_in(path):
            """No run has outlived the process that started it."""

    third = cross_validate(folder)
    assert third.returncode == 0, third.stderr
    assert done.items() <= records(folder).items(), "what was done is not done again"
    results = [json.loads((folder / name / "metrics.json").read_text()) for name in ("whole", "out")]
    for result in results:
        del result["fingerprint"]["command"]
    assert results[0] == results[1]
    predictions = [(folder / name / "predictions.jsonl").read_text() for name in ("whole", "out")]
    assert predictions[0] == predictions[1]


def records(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "out").glob("*/record.json")}
