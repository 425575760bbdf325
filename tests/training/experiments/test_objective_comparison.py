"""The comparison of objectives on scripts that are played: who runs how long on what, and what the figures say."""

import json
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest
from small_evaluations import answers

from amif.training.evaluation.prediction_rows import read_prediction_rows
from amif.training.evaluation.result_files import to_json, write_jsonl
from amif.training.evaluation.significance import compare_predictions
from amif.training.experiments.arms import ARMS
from amif.training.experiments.objective_comparison import (
    RECALLS,
    compare_objectives,
    objectives_table,
    pretraining_runs,
)
from amif.training.experiments.runs import Experiments
from amif.training.reports.tables import markdown_text

PRETRAINING = {"dataset": "phantom", "num_train_epochs": "6"}

FINE_TUNING = {"dataset": "phantom", "num_studies": 60}

# What the played fine-tuning answers rightly.
SKILL = {"none": 0.3, "aga": 0.7}


class Player:
    """Plays the example scripts and counts what is asked of them."""

    def __init__(self):
        self.calls = []

    def __call__(self, script, arguments, folder, log):
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        self.calls.append((script.name, options))
        output = folder / options["--output_dir"]
        if script.name == "run_pretraining.py":
            recalls = {f"test_{name}": 0.5 + int(options["--seed"]) / 10 for name in RECALLS}
            training = {"seconds": 30.0, "cpu_seconds": 15.0, "studies": 10, "flops": 1e12}
            metrics = {"validation": {}, "test": recalls, "training": training}
        else:
            arm = options["--model_name_or_path"].split("_pretraining")[0]
            generator = np.random.default_rng([int(options["--seed"]), len(arm)])
            rows = answers([generator.random() < SKILL[arm] for _ in range(100)], questions_an_image=5)
            write_jsonl(output / "predictions.jsonl", rows)
            metrics = {"overall": {"accuracy": 100 * fmean(row.correct for row in rows)}}
        (output / "metrics.json").write_text(json.dumps(metrics))


@pytest.fixture
def played(tmp_path):
    player = Player()
    return player, Experiments(tmp_path / "runs", tmp_path, player)


def rows_of(experiments, arm, seed):
    (file,) = [
        file
        for file in experiments.folder.glob(f"{arm}_fine_tuning*/predictions.jsonl")
        if json.loads((file.parent / "record.json").read_text())["seed"] == seed
    ]
    return read_prediction_rows(file)


def test_stages_share_the_epochs_and_each_starts_from_the_one_before():
    one, two = pretraining_runs("amif_both", PRETRAINING, 7)
    assert one.arguments["num_train_epochs"] == two.arguments["num_train_epochs"] == 3
    assert (one.arguments["stage"], two.arguments["stage"]) == ("global", "local")
    assert two.needs == [one]
    (untrained,) = pretraining_runs("none", PRETRAINING, 7)
    assert (untrained.arguments["max_steps"], untrained.arguments["learning_rate"]) == (1, 0.0)
    for arm in ARMS:
        runs = pretraining_runs(arm, PRETRAINING, 7)
        assert all(run.arguments["seed"] == 7 and run.arguments["dataset"] == "phantom" for run in runs)


def test_differences_are_paired_over_all_seeds_by_image(played):
    _, experiments = played
    result = compare_objectives(experiments, ["none", "aga"], [1, 2], PRETRAINING, FINE_TUNING)
    rows = {arm: {seed: rows_of(experiments, arm, seed) for seed in (1, 2)} for arm in ("none", "aga")}
    accuracies = [100 * fmean(row.correct for row in rows["aga"][seed]) for seed in (1, 2)]
    assert result.arms["aga"].accuracy == pytest.approx(accuracies)
    difference = result.differences["aga"]["none"]
    expected = fmean(accuracies) - fmean(100 * fmean(row.correct for row in rows["none"][seed]) for seed in (1, 2))
    assert difference.difference.value == pytest.approx(expected)
    assert difference.difference.n == 200
    assert result.differences["none"] == {}
    # With each seed's images as images of their own the interval would be another.
    apart = {
        arm: [
            replace(row, question_id=f"{seed} {row.question_id}", image_id=f"{seed} {row.image_id}")
            for seed in (1, 2)
            for row in rows[arm][seed]
        ]
        for arm in rows
    }
    assert compare_predictions(apart["aga"], apart["none"]).difference.ci95 != difference.difference.ci95


def test_nothing_is_done_twice_and_more_seeds_and_arms_are_added(played):
    player, experiments = played
    first = compare_objectives(experiments, ["none"], [1], PRETRAINING, FINE_TUNING)
    assert [script for script, _ in player.calls] == ["run_pretraining.py", "run_vqa.py"]
    assert player.calls[1][1]["--new_co_attention"] == "true"
    assert compare_objectives(experiments, ["none"], [1], PRETRAINING, FINE_TUNING) == first
    assert len(player.calls) == 2
    compare_objectives(experiments, ["none", "aga"], [1, 2], PRETRAINING, FINE_TUNING)
    assert len(player.calls) == 8
    assert [options["--seed"] for _, options in player.calls[2:]] == ["1", "1", "2", "2", "2", "2"], "seed by seed"


def test_a_table_has_means_deviations_and_costs(played):
    _, experiments = played
    result = compare_objectives(experiments, ["amif_both", "info_nce"], [1, 3], PRETRAINING, None)
    table = objectives_table(result)
    written = json.loads(to_json(result))["arms"]["amif_both"]
    assert list(written) == ["accuracy", *RECALLS, "seconds", "cpu_seconds", "studies", "flops"]
    assert (written["accuracy"], written["seconds"]) == ([], [60.0, 60.0])
    both = dict(zip(table.header, table.rows[0], strict=True))
    assert both["accuracy in %"] == both["less no pre-training"] == "-"
    assert both["image to text @1"] == f"70.0 ± {stdev([60, 80]):.1f}"
    assert (both["minutes"], both["CPU minutes"], both["TFLOP"]) == ("1.00", "0.50", "2.00"), "of both stages"
    assert "| AMiF, both stages | - |" in markdown_text(table)


def test_unknown_arms_are_named(played):
    with pytest.raises(ValueError, match="Unknown arms clip: choose from none, info_nce"):
        compare_objectives(played[1], ["clip"], [1], PRETRAINING, None)


@pytest.mark.parametrize("given", [({"seed": 1}, {}), ({"stage": "local"}, {}), ({}, {"model_name_or_path": "x"})])
def test_what_the_arms_say_is_refused(played, given):
    """It was overwritten without a word."""
    with pytest.raises(ValueError, match="the chain of runs says that itself"):
        compare_objectives(played[1], ["none"], [1], PRETRAINING | given[0], FINE_TUNING | given[1])


def test_a_teacher_is_for_amif_alone():
    arguments = PRETRAINING | {"teacher": "hf:clip", "teacher_mode": "online"}
    teachers = {arm: {run.arguments.get("teacher") for run in pretraining_runs(arm, arguments, 1)} for arm in ARMS}
    given_one = {arm for arm, seen in teachers.items() if seen == {"hf:clip"}}
    assert given_one == {"none", "amif_one", "amif_both"}
    assert all(seen == {None} for arm, seen in teachers.items() if arm not in given_one)
