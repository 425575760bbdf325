r"""Score any system's predictions on a data set, or compare several systems.

    python examples/evaluate_predictions.py --dataset slake --data_dir DIR --predictions FILE --output_dir OUT
    python examples/evaluate_predictions.py --dataset slake --data_dir DIR --predictions FILE --compare FILE2 FILE3 \
        --extract true --output_dir OUT

A file is JSON, JSON Lines or CSV with `id` and `prediction` a row, and `score` or `confidence` where there is one; the
`predictions.jsonl` of run_vqa.py is one. `--extract true` takes the answers out of sentences. Answers to the same
questions on blank and exchanged images (`--blank FILE`, `--shuffled FILE FILE ...`, `--shuffled_alike FILE FILE ...`)
tell whether the system looks at the image. It prints a table and writes `metrics.json`, `predictions.jsonl`,
`report.html` and `accuracy.png`. docs/evaluation.md defines the measures.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from amif_command import arguments_first

with arguments_first():
    from amif.training.argument_checks import Bounds, check_bounds, check_choices
    from amif.training.command_line import plain_errors
    from amif.training.data.arguments import VqaDataArguments
    from amif.training.data.names import PROTOCOLS
    from amif.training.evaluation.result_files import check_output_folder, replace_file, write_json, write_jsonl
    from amif.training.recipes import parse_arguments

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from amif.training.evaluation.extracted_answers import Candidates
    from amif.training.evaluation.metrics import Metrics
    from amif.training.evaluation.prediction_rows import Prediction, ScoredAnswer
    from amif.training.reports.tables import Table


@dataclass
class EvaluationArguments(VqaDataArguments):
    """What to score, and on which data."""

    predictions: str = field(kw_only=True, metadata={"help": "JSON, JSON Lines or CSV file with id and prediction."})
    split: str | None = field(default=None, metadata={"help": "Which split; default: test where it has answers."})
    compare: list[str] | None = field(default=None, metadata={"help": "Predictions of other systems, a file each."})
    extract: bool = field(
        default=False,
        metadata={"help": "Take the answers out of sentences, as chat models write them, and score them beside."},
    )
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
        default="unstated",
        metadata={"help": "What the system could choose from: clean, paper, choices, generate or unstated."},
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


@plain_errors()
def main() -> None:
    """Leave metrics.json, predictions.jsonl, report.html and accuracy.png; no model is loaded."""
    # 1. Arguments
    args = parse_arguments(EvaluationArguments, __doc__, needs_models=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_output_folder(args.output_dir)
    names = system_names(args)
    # Not before: help and a wrong word need not wait for them.
    from amif.training.data.references import acceptable_answers_of
    from amif.training.data.splits import evaluated_split
    from amif.training.evaluation.extracted_answers import as_answered, extraction_candidates
    from amif.training.evaluation.grounding import grounding
    from amif.training.evaluation.judge import mean_judge_score
    from amif.training.evaluation.prediction_files import read_judge_scores, read_predictions
    from amif.training.evaluation.protocols import check_choices_given
    from amif.training.evaluation.system_comparison import compare_systems

    # 2. Predictions, and the data, which take longer
    files = [args.predictions, *(args.compare or []), *(args.shuffled or []), *(args.shuffled_alike or [])]
    files += [] if args.blank is None else [args.blank]
    predictions = {file: read_predictions(file, args.judge_column, args.answers) for file in files}
    splits = args.load_splits()
    split = evaluated_split(splits, args.split, args.name)
    if args.protocol == "choices":
        check_choices_given(splits[split], split)
    acceptable = acceptable_answers_of(args.name)
    candidates = extraction_candidates(splits, split, args.protocol, acceptable) if args.extract else None
    read = partial(read_rows, predictions, args=args, splits=splits, split=split, candidates=candidates)
    rows, *others = [read(file) for file in [args.predictions, *(args.compare or [])]]
    judged = None if args.judge_column is None else read_judge_scores(args.predictions, args.judge_column)
    blank = None if args.blank is None else read(args.blank)
    shuffled = [as_answered(read(file)) for file in args.shuffled or []]
    alike = [as_answered(read(file, alike=True)) for file in args.shuffled_alike or []]

    # 3. Measures
    compared = compare_systems(dict(zip(names, [rows, *others], strict=True))) if others else None
    looks = blank is not None or shuffled or alike
    metrics = replace(
        measure(rows, args, splits, split, candidates),
        comparison=compared.pairs[0].comparison if compared is not None and len(others) == 1 else None,
        comparisons=compared,
        judge=None if judged is None else mean_judge_score(rows, judged, str(args.judge_column)),
        grounding=grounding(as_answered(rows), blank and as_answered(blank), shuffled, alike) if looks else None,
    )

    # 4. Results
    write_results(args, rows, metrics, splits[split], blank)


def write_results(
    args: EvaluationArguments,
    rows: "Sequence[Prediction]",
    metrics: "Metrics",
    questions: "Dataset",
    blank: "Sequence[Prediction] | None",
) -> None:
    """Leave the files of an evaluation in its folder, and print its tables."""
    from amif.training.reports.card_figure import accuracy_figure
    from amif.training.reports.console import print_table
    from amif.training.reports.html_report import write_html_report
    from amif.training.reports.published import published_table
    from amif.training.reports.tables import metrics_table

    output, further, published = Path(args.output_dir), further_tables(metrics), published_table(metrics)
    if args.published and published is None:
        logging.warning(f"--published: not used, for the paper has no figures of {args.name}.")
    write_json(output / "metrics.json", metrics)
    write_jsonl(output / "predictions.jsonl", rows)
    folded = further if published is None else [*further, published]
    write_html_report(output / "report.html", rows, metrics, folded, images=questions, blank=blank)
    if figure := accuracy_figure(metrics):
        replace_file(output / "accuracy.png", figure)
    else:
        (output / "accuracy.png").unlink(missing_ok=True)  # of earlier answers
    for table in [metrics_table(metrics), *(folded if args.published else further)]:
        print_table(table)


def system_names(args: EvaluationArguments) -> list[str]:
    """What the compared files are called: by their names, or as they were given where two have one name."""
    files = [args.predictions, *(args.compare or [])]
    if Path(args.output_dir, "predictions.jsonl").resolve() in [Path(file).resolve() for file in files]:
        raise ValueError(f"--output_dir {args.output_dir} holds the predictions that are scored: give another folder.")
    if repeated := [file for file in files if [Path(one).resolve() for one in files].count(Path(file).resolve()) > 1]:
        raise ValueError(f"--compare: {repeated[0]} is given twice, and a system does not differ from itself.")
    names = [Path(file).name for file in files]
    return names if len({*names}) == len(names) else files


def read_rows(
    given: "Mapping[str, Mapping[str, ScoredAnswer]]",
    file: str,
    args: EvaluationArguments,
    splits: "DatasetDict",
    split: str,
    candidates: "Candidates | None",
    alike: bool = False,
) -> "Sequence[Prediction]":
    """The rows of one file of predictions, matched to the questions of the split and scored.

    Args:
        given: By file, its predictions by question id.
        file: The one to read.
        args: Say which data set it is.
        splits: All splits, so that answers to another one's questions are told from unknown ids.
        split: The one that is scored.
        candidates: What answers are taken out of sentences by; None takes them as they are.
        alike: Whether to keep only questions about images that others of their modality and organ could stand for.

    Raises:
        ValueError: If `alike` leaves no question, or as `match_predictions`.
    """
    from amif.training.data import rows_with_alike_images
    from amif.training.data.references import acceptable_answers_of
    from amif.training.evaluation.extracted_answers import extract_answers, warn_of_sentences
    from amif.training.evaluation.prediction_files import match_predictions
    from amif.training.evaluation.prediction_rows import prediction_rows

    dataset, predictions = splits[split], given[file]
    if alike:
        dataset = rows_with_alike_images(dataset)
        if not len(dataset):
            raise ValueError(f"--shuffled_alike: {args.name} names no two images of one modality and organ.")
        # Answers about images that are alone of their kind count for nothing.
        alone = set(splits[split]["question_id"]) - set(dataset["question_id"])
        predictions = {id_: prediction for id_, prediction in predictions.items() if id_ not in alone}
    others = {str(name): rows for name, rows in splits.items() if name != split}
    answers, scores = match_predictions(dataset, predictions, file, others)
    acceptable = acceptable_answers_of(args.name)
    rows = prediction_rows(dataset, answers, scores, acceptable)
    if candidates is not None:
        return extract_answers(rows, candidates, acceptable)
    warn_of_sentences(rows, file)
    return rows


def measure(
    rows: "Sequence[Prediction]",
    args: EvaluationArguments,
    splits: "DatasetDict",
    split: str,
    candidates: "Candidates | None",
) -> "Metrics":
    """Accuracies with intervals over images, baselines and fingerprint; and with `candidates` what was extracted."""
    from amif.training.data.references import acceptable_answers_of
    from amif.training.evaluation.baselines import split_baselines
    from amif.training.evaluation.extracted_answers import measure_extraction
    from amif.training.evaluation.fingerprint import command_line, evaluation_fingerprint
    from amif.training.evaluation.metrics import build_metrics

    learned, note = split_baselines(splits, split, acceptable_answers_of(args.name))
    command, extracts = command_line(), candidates is not None
    metrics = build_metrics(
        rows,
        protocol=args.protocol,
        dataset_name=args.name,
        split=split,
        baselines=learned,
        baselines_note=note,
        fingerprint=evaluation_fingerprint(rows, protocol=args.protocol, seed=None, command=command, extracts=extracts),
        abstention_threshold=args.abstention_threshold,
    )
    if candidates is None:
        return metrics
    logging.info(f"--extract: replies may name {candidates.source}.")
    return replace(metrics, extraction=measure_extraction(rows, candidates))


def further_tables(metrics: "Metrics") -> "list[Table]":
    """Tables of compared systems, in pairs where there are more than two, and of grounding, as far as measured."""
    from amif.training.reports.tables import comparison_table, grounding_table, pairs_table, systems_table

    tables = []
    if metrics.comparisons is not None:
        systems = metrics.comparisons.systems
        tables.append(systems_table(metrics.comparisons))
        if metrics.comparison is not None:
            tables.append(comparison_table(metrics.comparison, systems[0].name, systems[1].name))
        else:
            tables.append(pairs_table(metrics.comparisons))
    if metrics.grounding is not None:
        tables.append(grounding_table(metrics.grounding))
    return tables


if __name__ == "__main__":
    main()
