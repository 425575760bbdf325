"""The cross-validation script as a user starts it, at the smallest size there is."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from started_scripts import run_script

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


def cross_validate(folder):
    arguments = ["--arguments", "dataset=questions", "seed=7"]
    return run(folder, "cross_validate.py", "--recipe", "tiny.yaml", *arguments, "--output_dir", "out")


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
    scored = run(
        *(folder, "evaluate_predictions.py", "--dataset", "questions", *columns),
        *("--split", "train", "--validation_by", "none"),
        *("--predictions", "out/predictions.jsonl", "--compare", "out/predictions.jsonl"),
    )
    assert scored.returncode == 0, scored.stderr
    again = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert again["overall"] == metrics["overall"]
    assert (again["comparison"]["n"], again["comparison"]["difference"]) == (10, 0)
