r"""How well a pre-trained checkpoint finds the report of an image, and the image of a report.

    python examples/run_retrieval.py --model_name_or_path CHECKPOINT --output_dir OUT
    python examples/run_retrieval.py --model_name_or_path CHECKPOINT --dataset rocov2 --data_dir DIR --output_dir OUT
    python examples/run_retrieval.py --model_name_or_path CHECKPOINT --dataset pairs.csv --image_column file \
        --text_column report --output_dir OUT

Checkpoints of AMiF, AGA and MPMA are taken alike. It prints a table and writes `metrics.json`: recall@1, 5 and 10 with
95 % intervals. A report of the same words as an image's own, or of the same study, is a hit.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from amif_command import arguments_first

with arguments_first():
    from amif.training.command_line import plain_errors
    from amif.training.evaluation.result_files import write_json
    from amif.training.pretraining.arguments import TrialArguments
    from amif.training.recipes import parse_arguments


@dataclass
class RetrievalArguments(TrialArguments):
    """Which model is tried on which pairs."""

    output_dir: str = field(default="retrieval", metadata={"help": "Folder of metrics.json."})


@plain_errors()
def main() -> None:
    """Measure retrieval both ways over one split, and leave metrics.json."""
    # 1. Arguments
    args = parse_arguments(RetrievalArguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Not before: help and a wrong word need not wait for them.
    from amif.training.data.pretraining_collator import report_groups
    from amif.training.evaluation.retrieval import retrieval_metrics
    from amif.training.pretraining.embeddings import embed_pairs
    from amif.training.pretraining.trial import begin_trial
    from amif.training.reports.console import print_table
    from amif.training.reports.tables import retrieval_table

    # 2. Model and pairs
    trial = begin_trial(args)
    pairs = trial.splits[trial.split]

    # 3. Measures
    images, texts = embed_pairs(trial.model, trial.processor, pairs, args.batch_size)
    groups = report_groups(pairs.select_columns(["text", "study_id"]).to_list())
    metrics = retrieval_metrics(images, texts, groups, pairs["study_id"])

    # 4. Results
    facts = {"objective": trial.objective, "dataset": args.name, "split": trial.split}
    write_json(Path(args.output_dir) / "metrics.json", {**facts, **metrics.json_fields()})
    print_table(retrieval_table(metrics, f"{args.name}, {trial.split}"))


if __name__ == "__main__":
    main()
