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
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import HfArgumentParser

from amif.training.data import rows_with_alike_images
from amif.training.data.arguments import VqaDataArguments
from amif.training.data.splits import evaluated_split
from amif.training.evaluation import (
    acceptable_answers_of,
    baseline_rows,
    build_metrics,
    compare_predictions,
    evaluation_fingerprint,
    grounding,
    known_splits,
    prediction_rows,
    write_json,
)
from amif.training.evaluation.prediction_files import match_predictions, read_predictions
from amif.training.reports.console import print_table
from amif.training.reports.html_report import write_html_report
from amif.training.reports.published import published_table
from amif.training.reports.tables import comparison_table, grounding_table, metrics_table


@dataclass
class EvaluationArguments(VqaDataArguments):
    """What to score, and on which data."""

    predictions: str = field(kw_only=True, metadata={"help": "JSON, JSON Lines or CSV file with id and prediction."})
    split: str | None = field(default=None, metadata={"help": "Which split; default: test where it has answers."})
    compare: str | None = field(default=None, metadata={"help": "Predictions of another system, to compare with."})
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


def main() -> None:
    # 1. Arguments
    (args,) = HfArgumentParser(EvaluationArguments).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    # 2. Data and predictions
    splits = args.load_splits()
    try:
        split = evaluated_split(splits, args.split, args.dataset)
        rows = read_rows(args.predictions, args, splits, split)
        other_rows = None if args.compare is None else read_rows(args.compare, args, splits, split)
        blank = None if args.blank is None else read_rows(args.blank, args, splits, split)
        shuffled = [read_rows(file, args, splits, split) for file in args.shuffled or []]
        alike = [read_rows(file, args, splits, split, alike=True) for file in args.shuffled_alike or []]
    except (ValueError, FileNotFoundError) as error:
        sys.exit(str(error))

    # 3. Measures
    metrics = build_metrics(
        rows,
        protocol=args.protocol,
        dataset_name=args.dataset,
        split=split,
        baselines=baselines(splits, split, args.dataset),
        fingerprint=evaluation_fingerprint(rows, protocol=args.protocol, seed=None, command=shlex.join(sys.argv)),
        abstention_threshold=args.abstention_threshold,
    )
    tables = [metrics_table(metrics)]
    if other_rows is not None:
        metrics["comparison"] = compare_predictions(rows, other_rows)
        tables.append(comparison_table(metrics["comparison"], Path(args.predictions).name, Path(args.compare).name))
    if blank is not None or shuffled or alike:
        metrics["grounding"] = grounding(rows, blank, shuffled, alike)
        tables.append(grounding_table(metrics["grounding"]))
    published = published_table(metrics)

    # 4. Results
    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "metrics.json", metrics)
    write_html_report(output / "report.html", rows, metrics, tables if published is None else [*tables, published])
    for table in [*tables, published] if args.published and published is not None else tables:
        print_table(table)


def read_rows(file: str, args: EvaluationArguments, splits: DatasetDict, split: str, alike: bool = False) -> list[dict]:
    dataset, predictions = splits[split], read_predictions(file)
    if alike:
        dataset = rows_with_alike_images(dataset)
        if not len(dataset):
            raise ValueError(f"--shuffled_alike: {args.dataset} names no two images of one modality and organ.")
        # Answers about images that are alone of their kind count for nothing.
        alone = set(splits[split]["question_id"]) - set(dataset["question_id"])
        predictions = {id_: prediction for id_, prediction in predictions.items() if id_ not in alone}
    others = {name: rows for name, rows in splits.items() if name != split}
    answers, scores = match_predictions(dataset, predictions, file, others)
    return prediction_rows(dataset, answers, scores, acceptable_answers_of(args.dataset))


def baselines(splits: DatasetDict, split: str, name: str) -> dict:
    if split not in ("validation", "test") or "train" not in splits:
        return {}
    known: Dataset = concatenate_datasets(known_splits(splits, split))
    return baseline_rows(known, splits[split], acceptable_answers_of(name))


if __name__ == "__main__":
    main()
