"""The rows of the paper's tables as chains of runs, checked against the tables' own ticks and figures."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from amif import AmifPreTrainingArguments
from amif.training.experiments.ablation import (
    AblationRow,
    Setting,
    TeacherMissing,
    chain_of,
    chains,
    check_teacher,
    load_ablation,
    load_setting,
    run_chains,
)
from amif.training.experiments.runs import Experiments, RunFolder

FOLDER = Path(__file__).parents[3] / "examples" / "ablations"

TABLES = ("table2", "table3", "table4", "table5", "figure6")

# The ticks of Table 2: intra (n: none, t: text-text alone, f: both), local, soft label, HN.
TICKS = {
    "1": "n---",
    "2": "t---",
    "3": "f---",
    "4": "fl--",
    "5": "nls-",
    "6": "nlsh",
    "7": "fls-",
    "8": "flsh",
}

# Averages as printed; the paper's text reads differences off them.
AVERAGES = {
    "table2": [74.84, 75.28, 76.06, 76.96, 77.90, 78.28, 78.33, 78.93],
    "table3": [78.93, 77.17, 77.96, 77.76, 77.94],
    "table4": [73.95, 75.45, 76.98, 77.36, 77.71, 78.93],
    "table5": [73.95, 74.37, 76.87, 77.35, 77.02, 77.71],
}

INTRA = {"n": "none", "t": "text", "f": "full"}


@pytest.fixture(scope="module")
def setting():
    return load_setting(FOLDER / "phantom.yaml")


@pytest.mark.parametrize("name", AVERAGES)
def test_published_figures_are_the_papers(name):
    rows = load_ablation(FOLDER / f"{name}.yaml").rows
    published = [row.published for row in rows.values() if row.published is not None]
    assert [figures[-1] for figures in published] == AVERAGES[name]
    for *figures, average in published:
        # Row 4 of Table 4 prints 77.36, but the mean of its own four figures is 77.66.
        assert average == 77.36 or sum(figures) / 4 == pytest.approx(average, abs=0.01)


def test_table_2_has_the_papers_ticks(setting):
    ablation = load_ablation(FOLDER / "table2.yaml")
    assert {name for name in ablation.rows if name.isdigit()} == TICKS.keys()
    for name, (intra, local, soft, mining) in TICKS.items():
        chain = chain_of(ablation.rows[name], setting, seed=7)
        one = chain["stage_one"].arguments
        assert (one["stage"], one["intra"]) == ("global", INTRA[intra])
        assert ("teacher" in one) == (soft == "s")
        assert ("stage_two" in chain) == (local == "l")
        if local == "l":
            two = chain["stage_two"].arguments
            assert two["stage"] == "local"
            assert (two["local_weight"], two["hard_negative_weight"]) == (1.0, float(mining == "h"))
            assert two["model_name_or_path"] == RunFolder(chain["stage_one"])
            assert two.get("teacher") == one.get("teacher"), "hard negatives are drawn from the labels of stage one"
        fine_tuning = chain["fine_tuning"].arguments
        assert (fine_tuning["knowledge"], fine_tuning["knowledge_fusion"]) == ("answers", "gated")
        assert fine_tuning["model_name_or_path"] == RunFolder(chain["stage_two" if local == "l" else "stage_one"])
        assert all(run.arguments["seed"] == 7 for run in chain.values())


def test_letters_of_table_2_lead_to_row_8_in_steps_of_one_thing(setting):
    rows = load_ablation(FOLDER / "table2.yaml").rows
    steps = [chain_of(rows[name], setting, 7)["stage_two"].arguments for name in "abcd8"]
    defaults = AmifPreTrainingArguments(stage="local", output_dir="unused")
    ours = {"hard_negative_warmup", "local_contrast", "detach_image_tokens", "global_weight"}
    assert all(steps[0][name] == getattr(defaults, name) for name in ours), "the paper's letters"
    changed = [{name for name in ours if one[name] != other[name]} for one, other in pairwise(steps)]
    assert changed == [{"hard_negative_warmup"}, {"local_contrast"}, {"detach_image_tokens"}, {"global_weight"}]
    same, *others = [{name: step[name] for name in step.keys() - ours} for step in steps]
    assert all(other == same for other in others)


def test_table_3_has_the_papers_weights_on_the_full_model(setting):
    rows = load_ablation(FOLDER / "table3.yaml").rows
    found = [chain_of(row, setting, 7) for row in rows.values()]
    weights = [
        tuple(chain["stage_two"].arguments[f"{name}_weight"] for name in ("local", "hard_negative")) for chain in found
    ]
    assert weights == [(1.0, 1.0), (1.0, 0.2), (0.2, 1.0), (1.0, 3.0), (3.0, 1.0)]
    full = chain_of(load_ablation(FOLDER / "table2.yaml").rows["8"], setting, 7)
    assert found[0]["fine_tuning"].name == full["fine_tuning"].name
    assert {chain["stage_one"].name for chain in found} == {full["stage_one"].name}


def test_table_4_changes_knowledge_alone_once_pretrained(setting):
    rows = load_ablation(FOLDER / "table4.yaml").rows
    found = {name: chain_of(row, setting, 7) for name, row in rows.items()}
    fusion = {
        name: (chain["fine_tuning"].arguments["knowledge"], chain["fine_tuning"].arguments["knowledge_fusion"])
        for name, chain in found.items()
    }
    assert [fusion[name][0] for name in "123"] == ["none"] * 3
    assert [fusion[name] for name in "456"] == [("questions", "add"), ("answers", "add"), ("answers", "gated")]
    assert "model_name_or_path" not in found["1"]["fine_tuning"].arguments
    teacher = found["6"]["stage_one"].arguments["teacher"]
    assert teacher.prefix == "amif:"
    assert found["2"]["fine_tuning"].arguments["model_name_or_path"] == RunFolder(teacher.run)
    assert len({chain["stage_two"].name for name, chain in found.items() if name in "3456"}) == 1


def test_row_2_of_table_4_starts_from_the_towers_of_a_teacher_of_open_clip(setting, tmp_path):
    row = load_ablation(FOLDER / "table4.yaml").rows["2"]
    teacher = f"open_clip:{tmp_path}"
    found = chain_of(row, replace(setting, teacher=teacher, common=setting.common | {"vision_model": "other"}), 7)
    assert found.keys() == {"fine_tuning"}
    towers = {name: found["fine_tuning"].arguments.get(name) for name in ("vision_model", "text_model")}
    assert towers == {"vision_model": teacher, "text_model": teacher}
    with pytest.raises(TeacherMissing, match="neither an AMiF checkpoint"):
        chain_of(row, replace(setting, teacher=f"hf:{tmp_path}"), 7)


def test_encoders_are_named_where_a_run_begins_with_them_alone(setting):
    """Beside a checkpoint they would change nothing, which each run would say."""
    rows = load_ablation(FOLDER / "table4.yaml").rows
    named = replace(setting, common=setting.common | {"vision_model": "v", "text_model": "t"})
    chain = chain_of(rows["6"], named, 7)
    assert {kind: "vision_model" in run.arguments for kind, run in chain.items()} == {
        **{"stage_one": True, "stage_two": False, "fine_tuning": False}
    }
    assert chain_of(rows["1"], named, 7)["fine_tuning"].arguments["text_model"] == "t"


def test_figure_6_changes_lambda_in_both_stages(setting):
    for name, row in load_ablation(FOLDER / "figure6.yaml").rows.items():
        chain = chain_of(row, setting, 7)
        for kind in ("stage_one", "stage_two"):
            assert chain[kind].arguments["flexibility_weight"] == float(name)


def test_all_tables_share_what_they_can(setting, tmp_path):
    """Per seed 12 + 4 + 5 + 2 + 3 chains end differently; they stand on 18 stages two, 9 stages one and 2 teachers."""
    experiments = Experiments(tmp_path, tmp_path)
    ends = []
    for name in TABLES:
        found, _ = chains(load_ablation(FOLDER / f"{name}.yaml"), setting, [1, 2])
        ends += [chain["fine_tuning"] for of_seeds in found.values() for chain in of_seeds.values()]
    kinds = Counter(run.kind for run in experiments.outstanding(ends))
    assert kinds == {"teacher": 2, "stage_one": 2 * 9, "stage_two": 2 * 18, "fine_tuning": 2 * 26}


def test_all_rows_of_a_seed_come_before_the_next_seed(setting, tmp_path):
    done = []

    def note(script, arguments, folder, log):
        done.append(arguments[arguments.index("--seed") + 1])
        log.with_name("metrics.json").write_text("{}")

    found, _ = chains(load_ablation(FOLDER / "table4.yaml"), setting, [11, 12])
    run_chains(Experiments(tmp_path, tmp_path, note), [found])
    of_chains = [seed for seed in done if seed in ("11", "12")]
    assert of_chains == ["11"] * 8 + ["12"] * 8, "one stage one, one stage two, six fine-tunings"


def test_teachers_that_are_not_here_are_said_and_left_out(setting, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    ablation = load_ablation(FOLDER / "table5.yaml")
    found, skipped = chains(ablation, setting, [1])
    assert set(found) == {"1", "a", "b", "c"}
    assert "--teacher open_clip:microsoft/BiomedCLIP" in skipped["6"]
    assert "`hf download microsoft/BiomedCLIP" in skipped["6"]
    assert "medclip_*_embeds" in skipped["3"]
    check_teacher(f"hf:{tmp_path}")
    with pytest.raises(TeacherMissing, match="is not on this machine"):
        check_teacher("hf:nobody/nothing")


def test_a_row_can_start_only_from_a_teacher_that_can_be_started_from(tmp_path):
    clip = Setting("", [], {}, {}, {}, {}, teacher=f"hf:{tmp_path}")
    with pytest.raises(TeacherMissing, match="neither an AMiF checkpoint to start fine-tuning from nor towers"):
        chain_of(AblationRow("from the teacher", start="teacher"), clip, 1)


def test_misspelt_names_are_refused(tmp_path):
    (tmp_path / "table.yaml").write_text("caption: x\nbaseline: a\ncolumns: []\nrows: {a: {label: x, stage_on: {}}}\n")
    with pytest.raises(TypeError, match="stage_on"):
        load_ablation(tmp_path / "table.yaml")


def test_a_setting_does_not_say_what_rows_and_seeds_say(tmp_path):
    text = (FOLDER / "phantom.yaml").read_text().replace("stage_one:\n", "stage_one:\n  seed: 3\n")
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match="seed: the chain of runs says that itself"):
        load_setting(tmp_path / "own.yaml")
