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

from amif.training.data import NAMED, load_vqa_dataset, rows_with_alike_images
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
class EvaluationArguments:
    """What to score, and on which data."""

    predictions: str = field(metadata={"help": "JSON, JSON Lines or CSV file with id and prediction."})
    dataset: str = field(default="phantom", metadata={"help": "phantom, vqa_rad, slake, or your own file or Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the data set."})
    image_column: str | None = field(default=None, metadata={"help": "Column of images in your own data."})
    question_column: str | None = field(default=None, metadata={"help": "Column of questions in your own data."})
    answer_column: str | None = field(default=None, metadata={"help": "Column of answers in your own data."})
    image_dir: str | None = field(
        default=None, metadata={"help": "Folder or zip of your own images; default: the data file's folder."}
    )
    language: str | None = field(default=None, metadata={"help": "Language of SLAKE's questions: en (default) or zh."})
    num_studies: int | None = field(default=None, metadata={"help": "How many studies phantom generates."})
    on_bad_row: str = field(
        default="error", metadata={"help": "error stops at an unusable row; skip lists such rows and goes on."}
    )
    validation_by: str = field(
        default="image",
        metadata={
            "help": "How a missing validation split is made: image, question or wording; none: not at all, as for "
            "--split train and the predictions of cross_validate.py."
        },
    )
    validation_fold: int | None = field(default=None, metadata={"help": "Which fold (1 to 5) was held out."})
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
    splits = load_splits(args)
    split = args.split or default_split(splits)
    if split not in splits:
        sys.exit(f"{args.dataset} has no split {split!r}; it has {', '.join(splits)}.")
    try:
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


def load_splits(args: EvaluationArguments) -> DatasetDict:
    own = () if args.dataset in NAMED else ("image_column", "question_column", "answer_column", "image_dir")
    options = {name: value for name in (*own, "language", "num_studies") if (value := getattr(args, name)) is not None}
    validation_by = None if args.validation_by == "none" else args.validation_by
    options |= {"on_bad_row": args.on_bad_row, "validation_by": validation_by, "validation_fold": args.validation_fold}
    return load_vqa_dataset(args.dataset, args.data_dir, **options)


def default_split(splits: DatasetDict) -> str:
    has_answers = "test" in splits and any(answer is not None for answer in splits["test"]["answer"][:])
    return "test" if has_answers else "validation"


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
