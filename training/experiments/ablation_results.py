"""What an ablation's runs say: each row against the baseline row, over seeds and over images, beside the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

from scipy import stats

from ..evaluation.prediction_rows import Prediction, read_prediction_rows
from ..evaluation.significance import compare_predictions
from ..reports.tables import Table
from .ablation import Ablation, Setting
from .runs import RECORD_NAME, Experiments, Run

Chains = Mapping[str, Mapping[int, Mapping[str, Run]]]

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


def ablation_results(
    ablation: Ablation, setting: Setting, chains: Chains, skipped: Mapping[str, str], experiments: Experiments
) -> dict[str, Any]:
    """All figures of a table, from the runs that are done.

    Returns:
        `caption`, `columns`, `baseline`, the setting's `description` and `differences`, and `rows` by name: `label`;
        `published` and `published_difference`, the average of the paper's row less that of its baseline row;
        `accuracies` in percent by seed, with `mean` and `ci95` over seeds; `difference` as `paired_difference` gives
        it, None for the baseline row; `learned`, means over seeds of what pre-training reached, see `LEARNED`; `runs`,
        by seed and kind the record that each figure comes from; `skipped`, why the row was not run, else None.
    """
    predictions = {name: _predictions(of_seeds, experiments) for name, of_seeds in chains.items()}
    rows = {}
    for name, row in ablation.rows.items():
        of_seeds, found = chains.get(name, {}), predictions.get(name, {})
        accuracies = {seed: _accuracy(rows_of_seed) for seed, rows_of_seed in found.items()}
        base = predictions.get(ablation.baseline, {})
        rows[name] = {
            "label": row.label,
            "published": row.published,
            "published_difference": published_difference(ablation, name),
            "accuracies": accuracies,
            **mean_over_seeds(list(accuracies.values())),
            "difference": None if name == ablation.baseline else paired_difference(found, base),
            "learned": _learned(of_seeds, experiments),
            "runs": {seed: _records(of_seeds[seed]) for seed in found},
            "skipped": skipped.get(name),
        }
    head = {key: value for key, value in asdict(ablation).items() if key != "rows"}
    return {**head, "description": setting.description, "differences": setting.differences, "rows": rows}


def _predictions(of_seeds: Mapping[int, Mapping[str, Run]], experiments: Experiments) -> dict[int, list[Prediction]]:
    """Answers to the evaluated split by seed, of the chains that are done."""
    runs = {seed: chain["fine_tuning"] for seed, chain in of_seeds.items()}
    done = {seed: run for seed, run in runs.items() if experiments.record(run) is not None}
    return {seed: read_prediction_rows(experiments.path(run) / "predictions.jsonl") for seed, run in done.items()}


def _accuracy(rows: Sequence[Prediction]) -> float:
    return 100 * fmean(row.correct for row in rows if row.correct is not None)


def _records(chain: Mapping[str, Run]) -> dict[str, str]:
    return {kind: f"{run.name}/{RECORD_NAME}" for kind, run in chain.items()}


def _learned(of_seeds: Mapping[int, Mapping[str, Run]], experiments: Experiments) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for chain in of_seeds.values():
        for kind, names in LEARNED.items():
            record = experiments.record(chain[kind]) if kind in chain else None
            measured = record["metrics"].get("test", {}) if record else {}
            for key, name in names.items():
                if measured.get(key) is not None:
                    values.setdefault(name, []).append(measured[key])
    return {name: fmean(figures) for name, figures in values.items()}


def published_difference(ablation: Ablation, name: str) -> float | None:
    """The last column, the paper's average, of a row less that of the baseline row; None where there is none."""
    row, base = ablation.rows[name].published, ablation.rows[ablation.baseline].published
    if name == ablation.baseline or row is None or base is None:
        return None
    return round(row[-1] - base[-1], 2)


def mean_over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """`mean`, and `ci95` by Student's t over seeds; None where there are too few values for it."""
    if not values:
        return {"mean": None, "ci95": None}
    mean = fmean(values)
    if len(values) == 1:
        return {"mean": mean, "ci95": None}
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return {"mean": mean, "ci95": [mean - half, mean + half]}


def paired_difference(
    row: Mapping[int, Sequence[Prediction]], base: Mapping[int, Sequence[Prediction]]
) -> dict[str, Any] | None:
    """A row less the baseline row, in percentage points, over the seeds that both have; None where they share none.

    Returns:
        `by_seed`, with `mean` and `ci95` over seeds, which says whether another seed would tell the same; and `images`,
        the paired comparison of the answers of all seeds together, in which the answers of all seeds about one image
        are one unit: it says whether other images would tell the same of these very models.
    """
    seeds = sorted(row.keys() & base.keys())
    if not seeds:
        return None
    by_seed = {seed: _accuracy(row[seed]) - _accuracy(base[seed]) for seed in seeds}
    first, second = (_pooled(side, seeds) for side in (row, base))
    return {
        "by_seed": by_seed,
        **mean_over_seeds(list(by_seed.values())),
        "images": compare_predictions(first, second),
    }


def _pooled(side: Mapping[int, Sequence[Prediction]], seeds: Sequence[int]) -> list[Prediction]:
    return [replace(answer, question_id=f"{seed}|{answer.question_id}") for seed in seeds for answer in side[seed]]


def accuracy_table(result: Mapping[str, Any]) -> Table:
    """Each row's accuracy and its difference to the baseline row, the paper's figures beside them."""
    rows = result["rows"]
    seeds = sorted({seed for row in rows.values() for seed in row["accuracies"]})
    return Table(
        f"{result['caption']}. {result['description']}",
        ("row", "paper", "difference", "here, in %", "95 %, seeds", "seeds", "difference", "95 %, seeds", "p, images"),
        [_accuracy_cells(name, row) for name, row in rows.items()],
        [
            f"The paper's figures are averages of four data sets. Differences are to row {result['baseline']}, in "
            f"percentage points, and here over the seeds that both rows have. Seeds: "
            f"{', '.join(map(str, seeds)) or 'none yet'}. Intervals are Student's t over seeds; p is the exact paired "
            "permutation over images of all seeds' answers, and says nothing about other seeds. No correction is made "
            "for the number of rows.",
            *result["differences"],
            *(f"Row {name} is not run: {row['skipped']}." for name, row in rows.items() if row["skipped"]),
        ],
    )


def _accuracy_cells(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    published: Sequence[float] | None = row["published"]
    unknown: dict[str, Any] = {"mean": None, "ci95": None, "images": None}
    difference: Mapping[str, Any] = row["difference"] or unknown
    return (
        f"{name}: {row['label']}",
        _number(published[-1] if published else None),
        _number(row["published_difference"], "+.2f"),
        _number(row["mean"]),
        _interval(row["ci95"]),
        str(len(row["accuracies"])),
        _number(difference["mean"], "+.2f"),
        _interval(difference["ci95"], "+.2f"),
        _number(None if difference["images"] is None else difference["images"].permutation_p, ".3g"),
    )


def learned_table(result: Mapping[str, Any]) -> Table | None:
    """What pre-training reached on studies it never saw; None where no row says anything."""
    rows = {name: row for name, row in result["rows"].items() if row["learned"]}
    if not rows:
        return None
    return Table(
        f"{result['caption']}: what pre-training learned, test studies, means over seeds",
        ("row", *_LEARNED_COLUMNS.values()),
        [
            (f"{name}: {row['label']}", *(_number(row["learned"].get(key), ".3f") for key in _LEARNED_COLUMNS))
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


def _number(value: float | None, spec: str = ".2f") -> str:
    return "-" if value is None else format(value, spec)


def _interval(bounds: Sequence[float] | None, spec: str = ".2f") -> str:
    return "-" if bounds is None else f"{bounds[0]:{spec}} to {bounds[1]:{spec}}"
