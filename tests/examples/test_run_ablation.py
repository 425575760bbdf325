"""The ablation script as a user starts it, killed in the middle and started again, at the smallest size there is."""

import json
import re
import signal
import time

import pytest
from started_scripts import start_script

SETTING = """
description: tiny
differences: [Far too small to say anything.]
common: {dataset: phantom, num_studies: 60, image_size: 32, hidden_size: 32, num_co_attention_layers: 1, max_steps: 1,
  eval_strategy: "no", save_strategy: "no", load_best_model_at_end: false, disable_tqdm: true}
stage_one: {stage: global}
stage_two: {stage: local}
fine_tuning: {knowledge: answers, knowledge_fusion: gated, max_train_samples: 40, max_eval_samples: 20}
teacher: one_hot
teachers: {one_hot: {seed: 1}}
"""


def start(folder, *arguments):
    return start_script("run_ablation.py", *arguments, folder=folder)


def records(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "out").glob("*/record.json")}


def test_a_table_is_measured_across_a_kill(tmp_path):
    (tmp_path / "tiny.yaml").write_text(SETTING)
    arguments = ["--table", "4", "--seeds", "5", "--setting", "tiny.yaml", "--output_dir", "out"]
    first = start(tmp_path, *arguments)
    while not records(tmp_path) and first.poll() is None:
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    _, error = first.communicate()
    assert first.returncode == 128 + signal.SIGTERM, error
    before = records(tmp_path)
    assert before, error

    second = start(tmp_path, *arguments)
    printed, error = second.communicate()
    assert second.returncode == 0, error
    after = records(tmp_path)
    assert len(after) == 1 + 1 + 1 + 6, "a teacher, one stage one, one stage two, six fine-tunings"
    assert all(after[path] == time for path, time in before.items()), "what was done is not done again"
    assert f"{9 - len(before)} runs to do" in error
    assert re.search(r"6: ours, answers, gate +78\.93 +[\d.]+ +1 +5 +\+1\.22 ", printed), printed

    result = json.loads((tmp_path / "out" / "table4.json").read_text())
    record = json.loads((tmp_path / "out" / result["rows"]["6"]["runs"]["5"]["fine_tuning"]).read_text())
    assert record["metrics"]["overall"]["accuracy"] == result["rows"]["6"]["accuracies"]["5"]
    assert record["seed"] == 5
    assert {path.name for path in (tmp_path / "out").glob("table4.*")} == {
        "table4.json",
        "table4.md",
        "table4.png",
        "table4.svg",
    }


@pytest.mark.slow
def test_a_killed_one_loses_nothing_and_ends_as_one_that_was_not(tmp_path):
    """SIGKILL in the middle of a chain; a second process beside it is refused."""
    (tmp_path / "tiny.yaml").write_text(SETTING)
    arguments = ["--table", "4", "--seeds", "5", "--setting", "tiny.yaml", "--output_dir"]
    whole = start(tmp_path, *arguments, "whole")
    _, error = whole.communicate()
    assert whole.returncode == 0, error
    first = start(tmp_path, *arguments, "out")
    while len(records(tmp_path)) < 3 and first.poll() is None:
        time.sleep(0.05)
    assert first.poll() is None
    first.send_signal(signal.SIGSTOP)  # so that it is at work, however long another one takes to start
    second = start(tmp_path, *arguments, "out")
    assert "Another run is at work in the output folder out: wait until it has ended" in second.communicate()[1]
    first.kill()
    first.communicate()
    before = records(tmp_path)
    third = start(tmp_path, *arguments, "out")
    _, error = third.communicate()
    assert third.returncode == 0, error
    assert before.items() <= records(tmp_path).items(), "what was done is not done again"
    assert f"{9 - len(before)} runs to do" in error
    results = [json.loads((tmp_path / name / "table4.json").read_text()) for name in ("whole", "out")]
    assert results[0] == results[1]
    for record in (tmp_path / "whole").glob("fine_tuning-*"):
        answers = [(tmp_path / name / record.name / "predictions.jsonl").read_text() for name in ("whole", "out")]
        assert answers[0] == answers[1]


def test_a_table_that_the_paper_does_not_have_is_refused(tmp_path):
    process = start(tmp_path, "--table", "1", "--output_dir", "out")
    _, error = process.communicate()
    assert process.returncode == 2
    assert "Give --table with some of 2, 3, 4, 5, or --figure 6; not 1." in error
