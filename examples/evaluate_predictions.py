r"""Score any system's predictions on a data set, or compare two systems.

    python examples/evaluate_predictions.py --dataset slake --data_dir DIR --predictions FILE --output_dir OUT
    python examples/evaluate_predictions.py --dataset slake --data_dir DIR --predictions FILE --compare FILE2 \
        --output_dir OUT

A file is JSON, JSON Lines or CSV with `id` and `prediction` a row, and `score` or `confidence` where there is one; the
`predictions.jsonl` of run_vqa.py is one. Answers to the same questions on blank and exchanged images (`--blank FILE`,
`--shuffled FILE FILE ...`, `--shuffled_alike FILE FILE ...`) tell whether the system looks at the image. It prints a
table and writes `metrics.json` and `report.html`. docs/evaluation.md defines the measures.
"""

import logging
import math
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from datasets import Dataset, DatasetDict, concatenate_datasets

from amif.training.argument_checks import Bounds, check_bounds, check_choices
from amif.training.checkpoints.resumable_files import check_output_folder
from amif.training.data import rows_with_alike_images
from amif.training.data.arguments import VqaDataArguments
from amif.training.data.references import acceptable_answers_of
from amif.training.data.splits import evaluated_split
from amif.training.evaluation.baselines import baseline_rows
from amif.training.evaluation.fingerprint import command_line, evaluation_fingerprint
from amif.training.evaluation.grounding import grounding
from amif.training.evaluation.judge import mean_judge_score
from amif.training.evaluation.metrics import Metrics, build_metrics
from amif.training.evaluation.prediction_files import match_predictions, read_judge_scores, read_predictions
from amif.training.evaluation.prediction_rows import Prediction, prediction_rows
from amif.training.evaluation.protocols import PROTOCOLS, known_splits
from amif.training.evaluation.result_files import write_json
from amif.training.evaluation.significance import compare_predictions
from amif.training.recipes import parse_arguments
from amif.training.reports.console import print_table
from amif.training.reports.html_report import write_html_report
from amif.training.reports.published import published_table
from amif.training.reports.tables import Table, comparison_table, grounding_table, metrics_table


@dataclass
class EvaluationArguments(VqaDataArguments):
    """What to score, and on which data."""

    predictions: str = field(kw_only=True, metadata={"help": "JSON, JSON Lines or CSV file with id and prediction."})
    split: str | None = field(default=None, metadata={"help": "Which split; default: test where it has answers."})
    compare: str | None = field(default=None, metadata={"help": "Predictions of another system, to compare with."})
    judge_column: str | None = field(
        default=None,
        metadata={"help": "Column of the file with scores (0 to 1) that a judge gave its answers, reported beside."},
    )
    blank: str | None = field(default=None, metadata={"help": "The system's predictions on blank images."})
    shuffled: list[str] | None = field(
        default=None, metadata={"help": "Its predictions on exchanged images, a file a shuffle."}
    )
    shuffled_alike: list[str] | None = field(
        default=None, metadata={"help": "Likewise, exchanged among images of one modality and organ."}
    )
    protocol: str = field(
        default="unstated", metadata={"help": "What the system could choose from: clean, paper, generate or unstated."}
    )
    abstention_threshold: float | None = field(
        default=None, metadata={"help": "Score below which answers would be withheld, as chosen on validation."}
    )
    published: bool = field(default=False, metadata={"help": "Print the paper's table beside the result."})
    output_dir: str = field(default="evaluation", metadata={"help": "Folder of metrics.json and report.html."})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self, {"protocol": PROTOCOLS})
        check_bounds(self, {"abstention_threshold": Bounds(-math.inf)})


def main() -> None:
    # 1. Arguments
    args = parse_arguments(EvaluationArguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_output_folder(args.output_dir)

    # 2. Data and predictions
    splits = args.load_splits()
    try:
        split = evaluated_split(splits, args.split, args.name)
        rows = read_rows(args.predictions, args, splits, split)
        judged = None if args.judge_column is None else read_judge_scores(args.predictions, args.judge_column)
        others = None if args.compare is None else read_rows(args.compare, args, splits, split)
        blank = None if args.blank is None else read_rows(args.blank, args, splits, split)
        shuffled = [read_rows(file, args, splits, split) for file in args.shuffled or []]
        alike = [read_rows(file, args, splits, split, alike=True) for file in args.shuffled_alike or []]
    except (ValueError, OSError) as error:
        sys.exit(str(error))

    # 3. Measures
    metrics = build_metrics(
        rows,
        protocol=args.protocol,
        dataset_name=args.name,
        split=split,
        baselines=baselines(splits, split, args.name),
        fingerprint=evaluation_fingerprint(rows, protocol=args.protocol, seed=None, command=command_line()),
        abstention_threshold=args.abstention_threshold,
    )
    metrics = replace(
        metrics,
        comparison=None if others is None else compare_predictions(rows, others),
        judge=None if judged is None else mean_judge_score(rows, judged, args.judge_column),
        grounding=grounding(rows, blank, shuffled, alike) if blank is not None or shuffled or alike else None,
    )

    # 4. Results
    output, further, published = Path(args.output_dir), further_tables(metrics, args), published_table(metrics)
    if args.published and published is None:
        logging.warning(f"--published: not used, for the paper has no figures of {args.name}.")
    write_json(output / "metrics.json", metrics)
    folded = further if published is None else [*further, published]
    write_html_report(output / "report.html", rows, metrics, folded, images=splits[split], blank=blank)
    for table in [metrics_table(metrics), *(folded if args.published else further)]:
        print_table(table)


def read_rows(
    file: str, args: EvaluationArguments, splits: DatasetDict, split: str, alike: bool = False
) -> list[Prediction]:
    dataset, predictions = splits[split], read_predictions(file, args.judge_column)
    if alike:
        dataset = rows_with_alike_images(dataset)
        if not len(dataset):
            raise ValueError(f"--shuffled_alike: {args.name} names no two images of one modality and organ.")
        # Answers about images that are alone of their kind count for nothing.
        alone = set(splits[split]["question_id"]) - set(dataset["question_id"])
        predictions = {id_: prediction for id_, prediction in predictions.items() if id_ not in alone}
    others = {str(name): rows for name, rows in splits.items() if name != split}
    answers, scores = match_predictions(dataset, predictions, file, others)
    return prediction_rows(dataset, answers, scores, acceptable_answers_of(args.name))


def further_tables(metrics: Metrics, args: EvaluationArguments) -> list[Table]:
    tables = []
    if metrics.comparison is not None and args.compare is not None:
        tables.append(comparison_table(metrics.comparison, Path(args.predictions).name, Path(args.compare).name))
    if metrics.grounding is not None:
        tables.append(grounding_table(metrics.grounding))
    return tables


def baselines(splits: DatasetDict, split: str, name: str) -> dict[str, list[Prediction]]:
    if split not in ("validation", "test") or "train" not in splits:
        return {}
    known: Dataset = concatenate_datasets(known_splits(splits, split))
    return baseline_rows(known, splits[split], acceptable_answers_of(name))


if __name__ == "__main__":
    main()
