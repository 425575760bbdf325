"""The scoring script, as a user starts it, on a small phantom."""

import csv
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from started_scripts import run_script

from amif.training.data import load_vqa_dataset, rows_with_alike_images
from amif.training.evaluation.answer_extraction import RULES_VERSION
from amif.training.evaluation.protocols import protocol_note

SCRIPT = Path(__file__).parents[2] / "examples" / "evaluate_predictions.py"
STUDIES = 30


@pytest.fixture(scope="module")
def splits():
    return load_vqa_dataset("phantom", num_studies=STUDIES)


@pytest.fixture(scope="module")
def files(splits, tmp_path_factory):
    """One system that is always right and says so, as CSV; one that says "no", as a JSON object."""
    folder = tmp_path_factory.mktemp("predictions")
    test = splits["test"].remove_columns("image")
    with (folder / "right.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "prediction", "confidence"])
        writer.writerows((row["question_id"], row["answer"].upper(), 1.0) for row in reversed(list(test)))
    (folder / "no.json").write_text(json.dumps({row["question_id"]: "no" for row in test}))
    paired = rows_with_alike_images(splits["test"])["question_id"][:]
    (folder / "no_alike.json").write_text(json.dumps(dict.fromkeys(paired, "no")))
    return folder


def run(folder, *arguments):
    return run_script("evaluate_predictions.py", "--num_studies", STUDIES, *arguments, folder=folder)


def test_two_systems_are_scored_and_compared(files, splits):
    shuffled = ("--shuffled", "no.json", "no.json", "--shuffled_alike", "no_alike.json", "no.json")
    done = run(files, "--predictions", "right.csv", "--compare", "no.json", *shuffled)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((files / "evaluation" / "metrics.json").read_text())
    answers = splits["test"]["answer"][:]
    share_no = 100 * answers.count("no") / len(answers)
    assert (metrics["overall"]["accuracy"], metrics["n"], metrics["split"]) == (100.0, len(answers), "test")
    assert set(metrics["by_modality"]) == set(splits["test"]["modality"][:])
    assert metrics["confidence"]["expected_calibration_error"] == 0.0
    assert metrics["comparison"]["difference"] == pytest.approx(100 - share_no)
    assert metrics["comparison"]["only_second_right"] == 0
    assert metrics["grounding"]["visual_reliance"]["difference"] == pytest.approx(100 - share_no)
    alike = rows_with_alike_images(splits["test"])["answer"][:]
    assert 0 < len(alike) < len(answers)
    share_no = 100 * alike.count("no") / len(alike)
    assert metrics["grounding"]["among_alike"]["visual_reliance"]["difference"] == pytest.approx(100 - share_no)
    assert "among alike: visual reliance" in done.stdout
    left_out = f"{len(answers) - len(alike)} of {len(answers)} questions are about an image without another"
    assert done.stderr.count(left_out) == 1
    assert metrics["protocol"] == metrics["fingerprint"]["protocol"] == "unstated"
    assert "right.csv less no.json" in done.stdout
    assert "\x1b" not in done.stdout


def test_answers_of_chat_models_are_taken_out_of_sentences_and_compared(files, splits):
    test = splits["test"].remove_columns("image")
    spoken = [{"id": row["question_id"], "response": [f"The answer is {row['answer']}."], "gpt": 0.75} for row in test]
    (files / "chat.json").write_text(json.dumps(spoken))
    (files / "vague.json").write_text(json.dumps({row["question_id"]: "It is hard to say." for row in test}))
    systems = ("--predictions", "chat.json", "--compare", "no.json", "vague.json")
    done = run(files, *systems, "--extract", "true", "--judge_column", "gpt", "--output_dir", "chat")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((files / "chat" / "metrics.json").read_text())
    share_no = 100 * splits["test"]["answer"][:].count("no") / len(test)
    assert metrics["overall"]["accuracy"] == 0
    assert metrics["overall_extracted"]["accuracy"] == 100
    assert metrics["overall_extracted"].keys() == metrics["overall"].keys()
    assert metrics["judge"]["score"] == 75
    assert metrics["extraction"]["not_extracted"] == []
    assert metrics["fingerprint"]["extraction"]["version"] == RULES_VERSION
    compared = metrics["comparisons"]
    assert [one["overall_extracted"]["accuracy"] for one in compared["systems"]] == [100, pytest.approx(share_no), 0]
    assert [pair["second"] for pair in compared["pairs"]] == ["no.json", "vague.json", "vague.json"]
    assert all(pair["permutation_p_holm"] >= pair["permutation_p"] for pair in compared["pairs"])
    rows = [json.loads(line) for line in (files / "chat" / "predictions.jsonl").read_text().splitlines()]
    assert all((row["correct"], row["extracted_correct"]) == (False, True) for row in rows)
    overall = next(line for line in done.stdout.splitlines() if line.startswith("overall"))
    assert overall.split()[1::4][:2] == ["0.00", str(len(test))]
    assert "100.00" in overall
    assert "Holm's correction is for the 3 pairs" in done.stdout
    assert "distinct answers of the evaluated split" in done.stderr
    strict = "confidence, BLEU-1 and token F1 are of the answers as they stand"
    assert strict in done.stdout
    assert strict in (files / "chat" / "report.html").read_text()
    bare = run(files, *systems[:2], "--output_dir", "bare")
    assert f"chat.json: {len(test)} of {len(test)} answers are sentences" in bare.stderr
    assert "overall_extracted" not in json.loads((files / "bare" / "metrics.json").read_text())
    assert strict not in bare.stdout
    over = run(files, "--predictions", "bare/predictions.jsonl", "--output_dir", "bare")
    assert over.returncode == 1
    assert "bare holds the predictions that are scored" in over.stderr


def test_the_page_shows_the_questions_with_their_images_and_plots(files, splits):
    done = run(files, "--predictions", "right.csv", "--blank", "no.json")
    assert done.returncode == 0, done.stderr
    text = (files / "evaluation" / "report.html").read_text()
    held = json.loads(re.findall(r'<script type="application/json" id="images">(.*?)</script>', text)[0])
    assert len(held) == len(set(splits["test"]["image_id"]))
    assert text.count("<li ") == text.count("<dt>blank image</dt>") == len(splits["test"])
    assert text.count("<svg") == 2
    assert (files / "evaluation" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    for printed in (text, done.stdout):
        assert printed.count(protocol_note("unstated")) == 1


def test_predictions_for_another_split_are_named(files, splits):
    train = splits["train"]["question_id"][:]
    (files / "wrong.json").write_text(json.dumps(dict.fromkeys(train, "yes")))
    done = run(files, "--predictions", "wrong.json", "--output_dir", "none")
    assert done.returncode == 1
    assert f"{len(train)} predictions are for questions of the split train" in done.stderr
    assert "have no prediction" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((files / "none").iterdir()), "nothing is scored"


def test_no_chart_of_earlier_answers_stays_where_none_can_be_drawn(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "test.csv").write_text("question_id,image,question,answer,question_type\n1,a.png,large?,yes,Größe\n")
    (tmp_path / "yes.json").write_text('{"1": "yes"}')
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "accuracy.png").write_bytes(b"earlier")
    words = ("--dataset", "test.csv", "--predictions", "yes.json", "--output_dir", "out")
    done = run_script("evaluate_predictions.py", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "metrics.json").exists()
    assert not (tmp_path / "out" / "accuracy.png").exists()
