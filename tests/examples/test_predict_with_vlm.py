"""The script, as a user starts it, and the one that scores what it leaves."""

import json

import pytest
from small_chat_models import save_chat_model
from started_scripts import run_script

DATA = ("--num_studies", 9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    save_chat_model(folder / "model", "qwen2_vl")
    return folder


def test_any_system_gets_our_protocol_in_two_commands(folder):
    clean = ("--protocol", "clean", "--output_dir", "out")
    done = run_script("predict_with_vlm.py", "--model", "model", *DATA, *clean, folder=folder)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "out" / "predictions.jsonl").read_text().splitlines()]
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert metrics["n"] == len(rows) > 5
    assert metrics["overall"]["accuracy"] == pytest.approx(100 * sum(row["correct"] for row in rows) / len(rows))
    assert metrics["baselines"]["question_only"]["n"] == len(rows)
    assert (metrics["protocol"], metrics["model"], metrics["ablate_image"]) == ("clean", "model", None)
    assert "{question}" in metrics["prompt"]
    assert all(row["score"] < 0 for row in rows)
    assert not list((folder / "out").glob("predictions.partial-*"))
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<li ") == page.count("<img data-image=") == len(rows)
    scored = run_script(
        *("evaluate_predictions.py", *DATA, "--predictions", "out/predictions.jsonl", "--output_dir", "scored"),
        folder=folder,
    )
    assert scored.returncode == 0, scored.stderr
    again = json.loads((folder / "scored" / "metrics.json").read_text())
    assert {name: again[name] for name in ("overall", "by_yes_no", "baselines")} == {
        name: metrics[name] for name in ("overall", "by_yes_no", "baselines")
    }


def test_errors_are_one_line(folder):
    done = run_script("predict_with_vlm.py", "--model", "nowhere", *DATA, folder=folder)
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("predict_with_vlm.py: error: There is no folder nowhere, and no model of that name")
    )
    assert "Traceback" not in done.stderr
