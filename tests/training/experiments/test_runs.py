"""Chains of runs on a script that trains nothing: what is done once, what is shared, what survives a kill."""

import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time

import pytest
from run_records import write_record

from amif.training.checkpoints.run_settings import RunSettings
from amif.training.distributed import only_run_in
from amif.training.experiments.launching import fork_script, start_script
from amif.training.experiments.runs import LOG_NAME, Experiments, Run, RunFolder

SCRIPT = """
import json, sys, time
from pathlib import Path

if __name__ == "__main__":
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    with open("started.txt", "a") as file:
        print(arguments["--output_dir"], file=file)
    print("hello", arguments["--level"])
    if arguments["--level"] == "broken":
        raise ValueError("no such level")
    time.sleep(float(arguments.get("--pause", 0)))
    before = arguments.get("--start")
    earlier = json.loads(Path(before, "metrics.json").read_text())["figure"] if before else 0
    figure = float(arguments["--level"]) + earlier
    Path(arguments["--output_dir"], "metrics.json").write_text(json.dumps({"figure": figure}))
"""


@pytest.fixture
def scripts(tmp_path):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "run.py").write_text(SCRIPT)
    return tmp_path / "examples"


def chain(*levels, **arguments):
    """A run for each level, each on the one before."""
    runs = []
    for level in levels:
        start = {"start": RunFolder(runs[-1])} if runs else {}
        runs.append(Run("first" if not runs else "second", "run.py", {"level": level, "seed": 3} | start | arguments))
    return runs


def started(folder):
    return (folder / "started.txt").read_text().split()


@pytest.mark.parametrize("launch", [fork_script, start_script])
def test_a_chain_is_done_once_in_order_and_leaves_records(tmp_path, scripts, launch):
    lab = Experiments(tmp_path / "runs", scripts, launch)
    one, two = chain(1, 20)
    lab.complete([two, one, two])
    assert started(tmp_path / "runs") == [one.name, two.name], "what is needed comes first, and everything once"
    record = lab.record(two)
    assert record.metrics == {"figure": 21}, "the second run reads the first one's folder"
    assert record.seed == 3
    assert record.configuration.arguments["start"] == one.name
    assert (tmp_path / "runs" / two.name / LOG_NAME).read_text() == "hello 20\n"
    lab.complete([one, two])
    assert len(started(tmp_path / "runs")) == 2


def test_the_recorded_command_makes_the_same_metrics_again(tmp_path, scripts):
    lab = Experiments(tmp_path / "runs", scripts)
    (run,) = chain(7)
    record = lab.perform(run)
    (tmp_path / "runs" / run.name / "metrics.json").unlink()
    (tmp_path / "runs" / "examples").symlink_to(scripts)
    command = [sys.executable, *record.command.split()[1:]]
    subprocess.run(command, cwd=tmp_path / "runs", check=True, capture_output=True)
    assert json.loads((tmp_path / "runs" / run.name / "metrics.json").read_text()) == record.metrics


def test_chains_share_what_they_begin_with_and_nothing_else(tmp_path, scripts):
    lab = Experiments(tmp_path / "runs", scripts)
    lab.complete([*chain(1, 2), *chain(1, 3), *chain(4, 2)])
    assert len(started(tmp_path / "runs")) == 5
    assert chain(1, 2)[1].name != chain(4, 2)[1].name, "equal arguments on another checkpoint are another run"
    assert chain(1, 2)[1].name == chain(1, 2)[1].name
    assert Run("a", "run.py", {"x": 1, "y": 2}).name == Run("a", "run.py", {"y": 2, "x": 1}).name


def test_a_failing_run_tells_what_it_said_and_is_not_done(tmp_path, scripts):
    lab = Experiments(tmp_path / "runs", scripts)
    good, bad = chain(1, "broken")
    with pytest.raises(RuntimeError, match=r"run\.py ended with code 1[\s\S]*no such level"):
        lab.complete([bad])
    assert lab.outstanding([bad]) == [bad], "what it needed is done"
    assert lab.is_done(good)


def test_a_killed_process_goes_on_where_it_was(tmp_path, scripts):
    """SIGTERM ends the run that is under way too; the next process does that one again, and none that was done."""
    one, two = chain(1, 2, pause=0.5)
    lab = Experiments(tmp_path / "runs", scripts)
    process = multiprocessing.get_context("fork").Process(target=lab.complete, args=([two],))
    process.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "runs" / two.name / LOG_NAME).is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    time.sleep(0.7)
    assert not (tmp_path / "runs" / two.name / "metrics.json").exists(), "the run did not outlive its parent"
    lab.complete([two])
    assert lab.record(two).metrics == {"figure": 3}
    assert started(tmp_path / "runs").count(one.name) == 1


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere the lock of its folder alone guards a run")
@pytest.mark.parametrize("launch", [fork_script, start_script])
def test_a_run_dies_with_the_process_that_started_it(tmp_path, scripts, launch):
    """SIGKILL, which nobody can catch, left the script at work in the folder that the next process goes on in."""
    one, two = chain(1, 2, pause=1)
    folder = tmp_path / "runs"
    process = multiprocessing.get_context("fork").Process(
        target=Experiments(folder, scripts, launch).complete, args=([two],)
    )
    process.start()
    deadline = time.monotonic() + 60
    while (not (folder / "started.txt").is_file() or len(started(folder)) < 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    time.sleep(1.5)
    assert not (folder / two.name / "metrics.json").exists(), "it did not outlive its parent"
    Experiments(folder, scripts, launch).complete([two])
    assert started(folder) == [one.name, two.name, two.name], "what was done is kept"
    assert Experiments(folder, scripts).record(two).metrics == {"figure": 3}


def test_two_processes_in_one_folder_are_refused(tmp_path, scripts):
    lab = Experiments(tmp_path / "runs", scripts)
    (tmp_path / "runs").mkdir()
    with only_run_in(tmp_path / "runs"), pytest.raises(RuntimeError, match=r"Another run is at work in .*runs: wait"):
        lab.complete(chain(1))
    assert not (tmp_path / "runs" / "started.txt").exists()
    lab.complete(chain(1))


def test_data_that_change_between_two_runs_are_noticed(tmp_path, scripts):
    """Half of a table was measured on other rows, without a word."""
    lab = Experiments(tmp_path / "runs", scripts)
    runs = [Run("a", "run.py", {"level": 1, "dataset": "d", "seed": seed}) for seed in (1, 2)]
    other = Run("a", "run.py", {"level": 1, "dataset": "d", "max_train_samples": 3})
    lab.complete([*runs, other])
    for run, rows in ((runs[0], "9 rows, sha256 aa"), (runs[1], "9 rows, sha256 aa"), (other, "3 rows, sha256 bb")):
        RunSettings({"training data": rows}).write(tmp_path / "runs" / run.name)
    lab.complete(runs)
    RunSettings({"training data": "8 rows, sha256 cc"}).write(tmp_path / "runs" / runs[1].name)
    with pytest.raises(ValueError, match="The data have changed between the runs") as said:
        lab.complete(runs)
    assert all(run.name in str(said.value) for run in runs)


def test_seconds_left_are_means_of_a_kind(tmp_path, scripts):
    lab = Experiments(tmp_path / "runs", scripts)
    one, two = chain(1, 2)
    assert lab.seconds_left([one]) is None
    for name, kind, seconds in (("a", "first", 10), ("b", "first", 20), ("c", "other", 60)):
        write_record(tmp_path / "runs" / name, kind, seconds=seconds)
    assert lab.seconds_left([one, one, two]) == 15 + 15 + 30, "of a kind nobody has done, the mean of all"
