"""What an ablation's runs say: each row against the baseline row, over seeds and over images, beside the paper."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from ..evaluation.results import Result
from ..reports.tables import Table
from .ablation import Ablation, Chain, Setting
from .runs import RECORD_NAME, Experiments
from .seeds import PairedDifference, accuracy, mean_over_seeds, paired_difference

# Of the test split's figures in stage one's and stage two's metrics.json: what each is called here.
LEARNED = {
    "stage_one": {"test_recall_i2t@1": "recall", "rank_correlation_text_text": "ranks"},
    "stage_two": {
        "matching_accuracy": "matching",
        "matching_accuracy_without_false": "matching_without_false",
        "localization_mass": "mass",
        "localization_chance": "chance",
        "localization_hit": "hit",
        "test_token_cosine_image": "token_cosine",
    },
}

# What `LEARNED` is called in a table.
_LEARNED_COLUMNS = {
    "recall": "recall@1",
    "ranks": "rank corr.",
    "matching": "matching",
    "matching_without_false": "true negatives",
    "mass": "mass in box",
    "chance": "by chance",
    "hit": "pointing game",
    "token_cosine": "cosine",
}


@dataclass(frozen=True)
class Step(Result):
    """What the one thing is worth that a row changes of another.

    Attributes:
        before: The other row.
        published: The paper's average of the row less that of the other, in points; None where it lacks one of them.
        difference: The same here; None where the two have no seed in common.
    """

    before: str
    published: float | None
    difference: PairedDifference | None

    @property
    def verdict(self) -> str:
        """Whether the paper's step shows here, by the 95 % interval over seeds.

        "shown" or "opposite" where zero lies outside it, "differs" there where the paper has no such step, "not shown"
        where zero lies within; "-" below two seeds.
        """
        if self.difference is None or self.difference.ci95 is None:
            return "-"
        low, high = self.difference.ci95
        if low <= 0 <= high:
            return "not shown"
        if self.published is None:
            return "differs"
        return "shown" if (low > 0) == (self.published > 0) else "opposite"


@dataclass(frozen=True)
class TableRowResult(Result):
    """What is known of a row of a table.

    Attributes:
        label: What the row is, in words.
        published: The paper's figures in percent, None where it has no such row.
        published_difference: The average of the paper's row less that of its baseline row.
        step: To the row that this one changes in one thing; None for the baseline row.
        accuracies: In percent, of the seeds that are done.
        mean: Of the accuracies; None where there is none.
        ci95: Its bounds over seeds; None below two.
        difference: To the baseline row; None for that row itself, and where the two have no seed in common.
        learned: Means over seeds of what pre-training reached, by the names in `LEARNED`.
        runs: By seed and kind the record that the figures come from, in the folder of runs.
        skipped: Why the row was not run, else None.
    """

    label: str
    published: list[float] | None
    published_difference: float | None
    step: Step | None
    accuracies: Mapping[int, float]
    mean: float | None
    ci95: tuple[float, float] | None
    difference: PairedDifference | None
    learned: dict[str, float]
    runs: dict[int, dict[str, str]]
    skipped: str | None


@dataclass(frozen=True)
class AblationResult(Result):
    """All figures of a table, from the runs that are done: the content of its JSON file.

    Attributes:
        caption: The table's.
        baseline: The row that the others are compared with.
        columns: Of the paper's figures.
        description: On what was measured, in words.
        differences: What keeps the figures from being compared with the paper's, a sentence each.
        rows: The rows by name.
    """

    caption: str
    baseline: str
    columns: list[str]
    description: str
    differences: list[str]
    rows: dict[str, TableRowResult]


def ablation_results(
    ablation: Ablation,
    setting: Setting,
    chains: Mapping[str, Mapping[int, Chain]],
    skipped: Mapping[str, str],
    experiments: Experiments,
) -> AblationResult:
    """All figures of a table, from the runs that are done.

    Args:
        ablation: The table.
        setting: On what it is measured.
        chains: The chain of each row and seed.
        skipped: For each row that is not run the reason.
        experiments: Where runs are kept.
    """
    answers = {
        name: {
            seed: experiments.predictions(chain["fine_tuning"])
            for seed, chain in of_seeds.items()
            if experiments.is_done(chain["fine_tuning"])
        }
        for name, of_seeds in chains.items()
    }
    base = answers.get(ablation.baseline, {})
    rows = {}
    for name, row in ablation.rows.items():
        before = row.before or ablation.baseline
        of_seeds, found = chains.get(name, {}), answers.get(name, {})
        accuracies = mean_over_seeds({seed: accuracy(given) for seed, given in found.items()})
        rows[name] = TableRowResult(
            label=row.label,
            published=row.published,
            published_difference=published_difference(ablation, name, ablation.baseline),
            step=None
            if name == before
            else Step(
                before,
                published_difference(ablation, name, before),
                paired_difference(found, answers.get(before, {})),
            ),
            accuracies=accuracies.by_seed,
            mean=accuracies.mean,
            ci95=accuracies.ci95,
            difference=None if name == ablation.baseline else paired_difference(found, base),
            learned=_learned(of_seeds.values(), experiments),
            runs={seed: {kind: f"{run.name}/{RECORD_NAME}" for kind, run in of_seeds[seed].items()} for seed in found},
            skipped=skipped.get(name),
        )
    return AblationResult(
        ablation.caption, ablation.baseline, ablation.columns, setting.description, setting.differences, rows
    )


def _learned(chains: Iterable[Chain], experiments: Experiments) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for chain in chains:
        for kind, names in LEARNED.items():
            if kind in chain and experiments.is_done(chain[kind]):
                measured = experiments.record(chain[kind]).metrics.get("test", {})
                for key, name in names.items():
                    if measured.get(key) is not None:
                        values.setdefault(name, []).append(measured[key])
    return {name: fmean(figures) for name, figures in values.items()}


def published_difference(ablation: Ablation, name: str, other: str) -> float | None:
    """The last column, the paper's average, of a row less that of another; None where there is none."""
    row, base = ablation.rows[name].published, ablation.rows[other].published
    if name == other or row is None or base is None:
        return None
    return round(row[-1] - base[-1], 2)


def accuracy_table(result: AblationResult) -> Table:
    """Each row's accuracy and what it adds to the row before it, the paper's figures beside them."""
    rows = result.rows
    seeds = sorted({seed for row in rows.values() for seed in row.accuracies})
    return Table(
        f"{result.caption}. {result.description}",
        (
            "row",
            "paper",
            "here, in %",
            "seeds",
            "less row",
            "paper",
            "here",
            "95 %, seeds",
            "p, images",
            "paper's step",
        ),
        [_accuracy_cells(name, row) for name, row in rows.items()],
        [
            "The paper's figures are averages of four data sets. A step is the difference to the row of which one "
            "thing was changed, in percentage points, here over the seeds that both rows have: "
            f"{', '.join(map(str, seeds)) or 'none yet'}. Its interval is Student's t over seeds: the paper's step is "
            "shown where zero lies outside, on the paper's side. p is the exact paired permutation over images of all "
            "seeds' answers, and says nothing about other seeds. No correction is made for the number of rows.",
            *result.differences,
            *(f"Row {name} is not run: {row.skipped}." for name, row in rows.items() if row.skipped),
        ],
    )


def _accuracy_cells(name: str, row: TableRowResult) -> tuple[str, ...]:
    compared = row.step and row.step.difference
    return (
        f"{name}: {row.label}",
        _number(row.published[-1] if row.published else None),
        _number(row.mean),
        str(len(row.accuracies)),
        row.step.before if row.step else "-",
        _number(row.step and row.step.published, "+.2f"),
        _number(compared and compared.mean, "+.2f"),
        _bounds(compared and compared.ci95, "+.2f"),
        _number(compared and compared.images.permutation_p, ".3g"),
        row.step.verdict if row.step else "-",
    )


def learned_table(result: AblationResult) -> Table | None:
    """What pre-training reached on studies it never saw; None where no row says anything."""
    rows = {name: row for name, row in result.rows.items() if row.learned}
    if not rows:
        return None
    return Table(
        f"{result.caption}: what pre-training learned, test studies, means over seeds",
        ("row", *_LEARNED_COLUMNS.values()),
        [
            (f"{name}: {row.label}", *(_number(row.learned.get(key), ".3f") for key in _LEARNED_COLUMNS))
            for name, row in rows.items()
        ],
        [
            "recall@1: image to report after stage one, over the whole split. rank corr.: Spearman's, of reports' "
            "similarities after stage one with the share of visible things they have in common. matching: pairs told "
            "rightly, half of them hard negatives; true negatives: without negatives that describe the same things. "
            "mass in box: share of the transport mass of a finding's words in the patches of its true box; by chance: "
            "those patches' share, which the pointing game (is the patch of most mass in it?) reaches by chance too. "
            "cosine: mean between two image tokens; near 1 all have become alike."
        ],
    )


def _number(value: float | None, spec: str = ".2f") -> str:
    return "-" if value is None else format(value, spec)


def _bounds(interval: tuple[float, float] | None, spec: str = ".2f") -> str:
    return "-" if interval is None else f"{interval[0]:{spec}} to {interval[1]:{spec}}"
