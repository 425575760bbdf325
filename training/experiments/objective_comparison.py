"""Which way to pre-train helps most: arms that differ in nothing but the objective.

Every arm sees equally many studies with the same encoders, optimiser and schedule, and hands on encoders and
projections alone: co-attention and decoder of the model that answers are new in all of them. AMiF's two stages have
half of the epochs each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev
from typing import Any

from ..argument_checks import check_seeds
from ..evaluation.prediction_rows import Prediction
from ..evaluation.results import Result
from ..evaluation.significance import Comparison, compare_predictions
from ..reports.tables import Table, difference_cell
from .arms import ARMS, LABELS
from .run_arguments import check_runs
from .runs import Experiments, PlainValue, Run, RunFolder, check_not_set_here
from .seeds import pool_seeds

# What the other objectives' scripts refuse.
OF_AMIF = ("teacher", "teacher_mode")

# Seeds, arms and the chain of runs say these.
_SET_HERE = ("do_train", "model_name_or_path", "output_dir", "resume_from_checkpoint", "seed")

# The arms that the others are compared with.
REFERENCES = ("none", "info_nce")

RECALLS = tuple(f"recall_{way}@{k}" for way in ("i2t", "t2i") for k in (1, 5, 10))

COSTS = ("seconds", "cpu_seconds", "studies", "flops")


@dataclass(frozen=True)
class ObjectiveSummary(Result):
    """An arm's figures, each one value a seed, and the cost of its pre-training.

    Attributes:
        accuracy: Of the fine-tuned models, in percent; empty where none was fine-tuned.
        recalls: In percent, by the names in `RECALLS`.
        seconds: Of all stages.
        cpu_seconds: Likewise, of the processor.
        studies: How many were seen, in all stages.
        flops: Floating-point operations of all stages.
    """

    accuracy: Sequence[float]
    recalls: dict[str, list[float]]
    seconds: Sequence[float]
    cpu_seconds: Sequence[float]
    studies: Sequence[float]
    flops: Sequence[float]

    def json_fields(self) -> Mapping[str, object]:
        """The fields by name, each recall among them."""
        costs = {name: getattr(self, name) for name in COSTS}
        return {"accuracy": self.accuracy, **self.recalls, **costs}


@dataclass(frozen=True)
class ObjectiveComparison(Result):
    """What `compare_objectives` found.

    Attributes:
        arms: The figures of each arm.
        differences: For each arm and reference the paired comparison of their answers, all seeds together, an image
            drawn with its questions of all seeds.
        seeds: Of pre-training and fine-tuning alike.
        commands: Of all runs.
    """

    arms: dict[str, ObjectiveSummary]
    differences: dict[str, dict[str, Comparison]]
    seeds: list[int]
    commands: list[str]


def pretraining_runs(arm: str, arguments: Mapping[str, PlainValue], seed: int) -> list[Run]:
    """The runs of one arm's pre-training, one a stage; `num_train_epochs` of `arguments` is that of all stages."""
    stages, runs = ARMS[arm], []
    epochs = float(str(arguments["num_train_epochs"])) / len(stages)
    for place, stage in enumerate(stages):
        shared = {
            name: value for name, value in arguments.items() if stage["objective"] == "amif" or name not in OF_AMIF
        }
        start = {"model_name_or_path": RunFolder(runs[-1])} if runs else {}
        values = {**shared, "num_train_epochs": epochs, **stage, **start, "seed": seed, "count_flops": True}
        runs.append(Run(f"{arm}_pretraining_{place + 1}", "run_pretraining.py", values))
    return runs


def fine_tuning_run(arm: str, pretraining: Run, arguments: Mapping[str, PlainValue], seed: int) -> Run:
    """The run that teaches one arm's model to answer."""
    start = {"model_name_or_path": RunFolder(pretraining), "new_co_attention": True}
    return Run(f"{arm}_fine_tuning", "run_vqa.py", {**arguments, **start, "seed": seed})


def compare_objectives(
    experiments: Experiments,
    arms: Sequence[str],
    seeds: Sequence[int],
    pretraining: Mapping[str, PlainValue],
    fine_tuning: Mapping[str, PlainValue] | None,
) -> ObjectiveComparison:
    """Do what is not done, seed by seed, and compare.

    Args:
        experiments: Where runs are kept.
        arms: Names of `ARMS`.
        seeds: Of pre-training and fine-tuning alike.
        pretraining: Arguments of run_pretraining.py that all arms share.
        fine_tuning: Those of run_vqa.py; None compares retrieval alone.

    Raises:
        ValueError: If an arm is unknown, seeds are not told apart, or a script does not take an argument, or has it of
            its own in each arm.
        RuntimeError: If a run fails.
    """
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise ValueError(f"Unknown arms {', '.join(unknown)}: choose from {', '.join(ARMS)}.")
    check_seeds(seeds)
    check_not_set_here(pretraining, (*_SET_HERE, "count_flops", "objective", "stage"))
    check_not_set_here(fine_tuning or {}, (*_SET_HERE, "new_co_attention"))
    stages = {(arm, seed): pretraining_runs(arm, pretraining, seed) for seed in seeds for arm in arms}
    answering = {}
    if fine_tuning is not None:
        answering = {
            (arm, seed): fine_tuning_run(arm, runs[-1], fine_tuning, seed) for (arm, seed), runs in stages.items()
        }
    check_runs([*chain.from_iterable(runs for (_, seed), runs in stages.items() if seed == seeds[0])])
    check_runs([run for (_, seed), run in answering.items() if seed == seeds[0]])
    experiments.complete(list(answering.values()) or [runs[-1] for runs in stages.values()])
    return ObjectiveComparison(
        arms={
            arm: _summary(
                [[experiments.record(run).metrics for run in stages[arm, seed]] for seed in seeds],
                [experiments.record(answering[arm, seed]).metrics for seed in seeds if answering],
            )
            for arm in arms
        },
        differences=_differences(
            {
                arm: pool_seeds({seed: experiments.predictions(answering[arm, seed]) for seed in seeds})
                for arm in arms
                if answering
            }
        ),
        seeds=list(seeds),
        commands=[
            experiments.record(run).command for run in [*chain.from_iterable(stages.values()), *answering.values()]
        ],
    )


def _summary(
    pretraining: Sequence[Sequence[Mapping[str, Any]]], answering: Sequence[Mapping[str, Any]]
) -> ObjectiveSummary:
    """An arm's figures, from the metrics.json of each seed's stages and of each seed's fine-tuned model."""
    ends = [stages[-1] for stages in pretraining]
    split = "test" if "test" in ends[0] else "validation"
    costs = {name: [sum(stage["training"][name] for stage in stages) for stages in pretraining] for name in COSTS}
    return ObjectiveSummary(
        accuracy=[metrics["overall"]["accuracy"] for metrics in answering],
        recalls={name: [100 * end[split][f"{split}_{name}"] for end in ends] for name in RECALLS},
        **costs,
    )


def _differences(answers: Mapping[str, Sequence[Prediction]]) -> dict[str, dict[str, Comparison]]:
    return {
        arm: {
            reference: compare_predictions(given, answers[reference])
            for reference in REFERENCES
            if reference in answers and reference != arm
        }
        for arm, given in answers.items()
    }


def objectives_table(result: ObjectiveComparison) -> Table:
    """The table of `compare_objectives`: means over seeds, with standard deviations where there are several."""
    header = ["arm", "accuracy in %", *(f"less {LABELS[name]}" for name in REFERENCES)]
    header += ["image to text @1", "@5", "@10", "text to image @1", "@5", "@10", "minutes", "CPU minutes", "TFLOP"]
    rows = []
    for arm, figures in result.arms.items():
        compared = result.differences.get(arm, {})
        points = [difference_cell(compared[name].difference) if name in compared else "-" for name in REFERENCES]
        cells = [LABELS[arm], _mean_and_deviation(figures.accuracy), *points]
        cells += [_mean_and_deviation(figures.recalls[name], 1) for name in RECALLS]
        costs = [(figures.seconds, 60), (figures.cpu_seconds, 60), (figures.flops, 1e12)]
        cells += ["-" if arm == "none" else f"{fmean(values) / unit:.2f}" for values, unit in costs]
        rows.append(cells)
    return Table(
        f"Pre-training compared, seeds {', '.join(map(str, result.seeds))}",
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
