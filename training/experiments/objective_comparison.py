"""Which way to pre-train helps most: arms that differ in nothing but the objective.

Every arm sees equally many studies with the same encoders, optimiser and schedule, and hands on encoders and
projections alone: co-attention and decoder of the model that answers are new in all of them. AMiF's two stages have
half of the epochs each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from ..evaluation.prediction_rows import Prediction, read_prediction_rows
from ..evaluation.significance import Comparison, compare_predictions
from ..reports.tables import Table
from .runs import Checkpoint, Experiments, Run

Arguments = Mapping[str, Any]

# What each arm tells run_pretraining.py, stage by stage.
ARMS: dict[str, tuple[Arguments, ...]] = {
    # One step that changes nothing: the same new weights, vocabulary and files as in the other arms.
    "none": ({"objective": "amif", "max_steps": 1, "learning_rate": 0.0, "weight_decay": 0.0},),
    "info_nce": ({"objective": "aga", "group_weight": 0.0, "cross_group_weight": 0.0},),
    "amif_one": ({"objective": "amif", "stage": "global"},),
    "amif_both": ({"objective": "amif", "stage": "global"}, {"objective": "amif", "stage": "local"}),
    "aga": ({"objective": "aga"},),
    "mpma": ({"objective": "mpma"},),
}

LABELS = {
    "none": "no pre-training",
    "info_nce": "InfoNCE of whole pairs",
    "amif_one": "AMiF, stage one",
    "amif_both": "AMiF, both stages",
    "aga": "AGA",
    "mpma": "MPMA",
}

# What the other objectives' scripts refuse.
OF_AMIF = ("teacher", "teacher_mode")

# The arms that the others are compared with.
REFERENCES = ("none", "info_nce")

RECALLS = tuple(f"recall_{way}@{k}" for way in ("i2t", "t2i") for k in (1, 5, 10))


def pretraining_runs(arm: str, arguments: Arguments, seed: int) -> list[Run]:
    """The runs of one arm's pre-training, one a stage; `num_train_epochs` of `arguments` is that of all stages."""
    stages, runs = ARMS[arm], []
    for place, stage in enumerate(stages):
        epochs = {"num_train_epochs": float(arguments["num_train_epochs"]) / len(stages)}
        start = {"model_name_or_path": Checkpoint(runs[-1])} if runs else {}
        kind = f"{arm}_pretraining_{place + 1}"
        shared = {
            name: value for name, value in arguments.items() if stage["objective"] == "amif" or name not in OF_AMIF
        }
        values = {**shared, **epochs, **stage, **start, "seed": seed, "count_flops": True}
        runs.append(Run(kind, "run_pretraining.py", values))
    return runs


def fine_tuning_run(arm: str, pretraining: Run, arguments: Arguments, seed: int) -> Run:
    """The run that teaches one arm's model to answer."""
    start = {"model_name_or_path": Checkpoint(pretraining), "new_co_attention": True}
    return Run(f"{arm}_fine_tuning", "run_vqa.py", {**arguments, **start, "seed": seed})


def compare_objectives(
    experiments: Experiments,
    arms: Sequence[str],
    seeds: Sequence[int],
    pretraining: Arguments,
    fine_tuning: Arguments | None,
) -> dict[str, Any]:
    """Do what is not done, seed by seed, and compare.

    Args:
        experiments: where runs are kept.
        arms: names of `ARMS`.
        seeds: of pre-training and fine-tuning alike.
        pretraining: arguments of run_pretraining.py that all arms share.
        fine_tuning: those of run_vqa.py; None compares retrieval alone.

    Returns:
        `arms`: for each what `_summary` says; `differences`: for each arm and reference the paired comparison of their
        answers by `compare_predictions`, all seeds together, an image drawn with its questions of all seeds.

    Raises:
        ValueError: for an unknown arm.
        RuntimeError: where a run fails.
    """
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise ValueError(f"Unknown arms {', '.join(unknown)}: choose from {', '.join(ARMS)}.")
    stages = {(arm, seed): pretraining_runs(arm, pretraining, seed) for seed in seeds for arm in arms}
    last = {key: runs[-1] for key, runs in stages.items()}
    if fine_tuning is not None:
        last = {(arm, seed): fine_tuning_run(arm, run, fine_tuning, seed) for (arm, seed), run in last.items()}
    experiments.complete(list(last.values()))

    def record(run: Run) -> Mapping[str, Any]:
        return experiments.record(run) or {}

    rows = {}
    if fine_tuning is not None:
        rows = {arm: _rows_of_seeds(experiments, {seed: last[arm, seed] for seed in seeds}) for arm in arms}
    return {
        "arms": {
            arm: _summary(
                [[record(run)["metrics"] for run in stages[arm, seed]] for seed in seeds],
                [record(last[arm, seed])["metrics"] for seed in seeds] if fine_tuning is not None else [],
            )
            for arm in arms
        },
        "differences": _differences(rows),
        "seeds": list(seeds),
        "commands": [record(run)["command"] for runs in stages.values() for run in runs]
        + [record(run)["command"] for run in (last.values() if fine_tuning is not None else ())],
    }


def _rows_of_seeds(experiments: Experiments, runs: Mapping[int, Run]) -> list[Prediction]:
    """All seeds' predictions; a question is another one with each seed, its image the same."""
    return [
        replace(row, question_id=f"{seed}/{row.question_id}")
        for seed, run in runs.items()
        for row in read_prediction_rows(experiments.path(run) / "predictions.jsonl")
    ]


def _summary(pretraining: Sequence[Sequence[Mapping]], answering: Sequence[Mapping]) -> dict[str, Any]:
    """An arm's figures, each a list of one value a seed: accuracy and recalls in percent, and the pre-training's cost.

    Args:
        pretraining: metrics.json of each stage, for each seed.
        answering: metrics.json of each seed's fine-tuned model.
    """
    ends = [stages[-1] for stages in pretraining]
    split = "test" if "test" in ends[0] else "validation"
    figures = {name: [100 * end[split][f"{split}_{name}"] for end in ends] for name in RECALLS}
    for name in ("seconds", "cpu_seconds", "studies", "flops"):
        figures[name] = [sum(stage["training"][name] for stage in stages) for stages in pretraining]
    return {"accuracy": [metrics["overall"]["accuracy"] for metrics in answering], **figures}


def _differences(rows: Mapping[str, Sequence[Prediction]]) -> dict[str, dict[str, Comparison]]:
    return {
        arm: {
            reference: compare_predictions(answers, rows[reference])
            for reference in REFERENCES
            if reference in rows and reference != arm
        }
        for arm, answers in rows.items()
    }


def objectives_table(result: Mapping[str, Any]) -> Table:
    """The table of `compare_objectives`: means over seeds, with standard deviations where there are several."""
    header = ["arm", "accuracy in %"]
    header += [f"less {LABELS[name]}" for name in REFERENCES]
    header += ["image to text @1", "@5", "@10", "text to image @1", "@5", "@10", "minutes", "CPU minutes", "TFLOP"]
    rows = []
    for arm, figures in result["arms"].items():
        compared = result["differences"].get(arm, {})
        cells = [LABELS[arm], _mean_and_deviation(figures["accuracy"])]
        cells += [_difference(compared.get(name)) for name in REFERENCES]
        cells += [_mean_and_deviation(figures[name], 1) for name in RECALLS]
        costs = [("seconds", 60), ("cpu_seconds", 60), ("flops", 1e12)]
        cells += ["-" if arm == "none" else f"{fmean(figures[name]) / unit:.2f}" for name, unit in costs]
        rows.append(cells)
    return Table(
        f"Pre-training compared, seeds {', '.join(map(str, result['seeds']))}",
        header,
        rows,
        [
            "Accuracy and recall: mean and standard deviation over seeds. Differences: percentage points with the 95 % "
            "interval of a paired bootstrap over images, all seeds together. Recall: among the whole split.",
            "Minutes, CPU minutes and TFLOP: of pre-training. TFLOP: torch's counter on the first step, forward and "
            "backward, times the steps.",
            "AMiF's labels are a teacher's where `teacher` is given for pre-training, and one-hot otherwise.",
        ],
    )


def _mean_and_deviation(values: Sequence[float], digits: int = 2) -> str:
    if not values:
        return "-"
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def _difference(comparison: Comparison | None) -> str:
    if comparison is None:
        return "-"
    points = comparison.difference
    return f"{points.value:+.2f} ({points.low:+.2f} to {points.high:+.2f})"
