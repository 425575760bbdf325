"""What tables of ablations say, against runs that are written by hand."""

import json

import pytest
from run_records import write_record
from small_evaluations import answers

from amif.training.evaluation.result_files import to_json, write_jsonl
from amif.training.evaluation.significance import compare_predictions
from amif.training.experiments.ablation import Ablation, AblationRow, Setting, chains
from amif.training.experiments.ablation_figure import ablation_figure
from amif.training.experiments.ablation_results import (
    Step,
    ablation_results,
    accuracy_table,
    learned_table,
    published_difference,
)
from amif.training.experiments.runs import Experiments
from amif.training.experiments.seeds import PairedDifference, mean_over_seeds
from amif.training.reports.tables import markdown_text

SETTING = Setting("four questions", ["Toy."], {}, {"stage": "global"}, {"stage": "local"}, {}, teacher="none")

ABLATION = Ablation(
    caption="Table 9",
    baseline="1",
    columns=["A", "Avg"],
    rows={
        "1": AblationRow("plain", stage_one={"intra": "none"}, published=[70.0, 70.0]),
        "2": AblationRow("better", stage_one={"intra": "full"}, stage_two={}, published=[72.5, 72.5]),
        "3": AblationRow("elsewhere", stage_one={}, teacher="hf:nobody/nothing", published=[71.0, 71.0]),
        "4": AblationRow("not in the paper", stage_one={"intra": "text"}, before="2"),
    },
)


def test_published_differences_are_of_the_averages():
    assert published_difference(ABLATION, "2", "1") == 2.5
    assert published_difference(ABLATION, "3", "2") == -1.5
    assert published_difference(ABLATION, "1", "1") is None
    assert published_difference(ABLATION, "4", "1") is None


@pytest.mark.parametrize(
    ("points", "published", "verdict"),
    [
        ({1: 4.0, 2: 5.0, 3: 6.0}, 2.5, "shown"),
        ({1: 4.0, 2: 5.0, 3: 6.0}, -2.5, "opposite"),
        ({1: -4.0, 2: -5.0, 3: -6.0}, -2.5, "shown"),
        ({1: 4.0, 2: 5.0, 3: 6.0}, None, "differs"),
        ({1: 0.0, 2: 5.0, 3: 6.0}, 2.5, "not shown"),
        ({1: 5.0}, 2.5, "-"),
    ],
)
def test_a_step_is_shown_where_zero_lies_outside_its_interval_on_the_papers_side(points, published, verdict):
    seeds = mean_over_seeds(points)
    images = compare_predictions(answers([1, 0]), answers([0, 0]))
    assert Step("1", published, PairedDifference(seeds.by_seed, seeds.mean, seeds.ci95, images)).verdict == verdict


@pytest.fixture
def result(tmp_path):
    """Two seeds of the baseline row, one of row 2, none of row 4; each answers four questions."""
    found, skipped = chains(ABLATION, SETTING, [1, 2])
    experiments = Experiments(tmp_path, tmp_path)

    def leave(run, metrics, correct=None):
        folder = experiments.path(run)
        write_record(folder, run.kind, metrics)
        if correct is not None:
            write_jsonl(folder / "predictions.jsonl", answers(correct))

    for seed, correct in ((1, [1, 0, 0, 0]), (2, [1, 1, 0, 0])):
        measured = {"test_recall_i2t@1": seed / 10, "rank_correlation_text_text": seed / 5}
        leave(found["1"][seed]["stage_one"], {"test": measured})
        leave(found["1"][seed]["fine_tuning"], {}, correct)
    leave(found["2"][1]["stage_two"], {"test": {"localization_mass": 0.3, "localization_chance": 0.25}})
    leave(found["2"][1]["fine_tuning"], {}, [1, 1, 1, 0])
    return ablation_results(ABLATION, SETTING, found, skipped, experiments), found


def test_every_figure_comes_from_its_runs(result):
    result, found = result
    rows = result.rows
    assert rows["1"].accuracies == {1: 25.0, 2: 50.0}
    assert (rows["1"].mean, rows["1"].difference) == (37.5, None)
    assert rows["2"].difference.by_seed == {1: 50.0}, "not of the seed that row 2 has not done"
    assert rows["1"].learned == {"recall": pytest.approx(0.15), "ranks": pytest.approx(0.3)}
    assert rows["2"].learned == {"mass": 0.3, "chance": 0.25}
    assert rows["2"].runs == {1: {kind: f"{run.name}/record.json" for kind, run in found["2"][1].items()}}
    assert rows["4"].mean is None
    assert "hf download nobody/nothing" in rows["3"].skipped


def test_json_keeps_the_rows_by_name_and_their_figures_by_seed(result):
    written = json.loads(to_json(result[0]))
    assert written.keys() == {"caption", "baseline", "columns", "description", "differences", "rows"}
    row = written["rows"]["2"]
    assert row["accuracies"] == {"1": 75.0}
    assert row.keys() >= {"label", "published", "published_difference", "mean", "ci95", "learned", "runs", "skipped"}
    assert row["difference"].keys() == {"by_seed", "mean", "ci95", "images"}
    assert row["difference"]["images"]["difference"] == 50.0


def test_tables_show_both_sides_and_say_what_they_are_not(result):
    result, _ = result
    text = markdown_text(accuracy_table(result))
    assert "| 2: better | 72.50 | 75.00 | 1 | 1 | +2.50 | +50.00 | - | 0.5 | - |" in text
    assert "| 1: plain | 70.00 | 37.50 | 2 | - | - | - | - | - | - |" in text
    assert "| 4: not in the paper | - | - | 0 | 2 | - | - | - | - | - |" in text
    assert "Row 3 is not run: --teacher hf:nobody/nothing" in text
    assert "\nToy.\n" in text
    assert "| 2: better | - | - | - | - | 0.300 | 0.250 | - | - |" in markdown_text(learned_table(result))


def test_the_plot_draws_each_seed_and_the_papers_figure(result):
    result, _ = result
    axes = ablation_figure(result).axes[0]
    drawn = {tuple(map(float, line.get_xdata())) for line in axes.lines if len(line.get_xdata())}
    assert {(50.0,), (2.5,), (1.0,)} <= drawn
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "4: not in the paper",
        "3: elsewhere",
        "2: better",
    ]
