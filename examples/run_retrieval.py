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

from amif.training.checkpoints.resumable_files import check_output_folder
from amif.training.data.pretraining_collator import report_groups
from amif.training.distributed import use_all_cpu_cores
from amif.training.evaluation.result_files import write_json
from amif.training.evaluation.retrieval import retrieval_metrics
from amif.training.pretraining.arguments import EvaluatedPairArguments
from amif.training.pretraining.embeddings import embed_pairs
from amif.training.pretraining.objectives import load_pretrained
from amif.training.recipes import parse_arguments
from amif.training.reports.console import print_table
from amif.training.reports.tables import retrieval_table


@dataclass
class RetrievalArguments(EvaluatedPairArguments):
    """Which model is tried on which pairs."""

    model_name_or_path: str = field(default="amif-pretrained", metadata={"help": "A checkpoint of pre-training."})
    batch_size: int = field(default=64, metadata={"help": "Pairs that are embedded at once."})
    output_dir: str = field(default="retrieval", metadata={"help": "Folder of metrics.json."})


def main() -> None:
    # 1. Arguments
    args = parse_arguments(RetrievalArguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    use_all_cpu_cores()
    check_output_folder(args.output_dir)

    # 2. Model and pairs
    objective, model, processor = load_pretrained(args.model_name_or_path)
    splits = args.load()
    split = args.evaluated_split(splits)
    pairs = splits[split]

    # 3. Measures
    images, texts = embed_pairs(model, processor, pairs, args.batch_size)
    groups = report_groups(pairs.select_columns(["text", "study_id"]).to_list())
    metrics = retrieval_metrics(images, texts, groups, pairs["study_id"])

    # 4. Results
    facts = {"objective": objective, "dataset": args.dataset, "split": split}
    write_json(Path(args.output_dir) / "metrics.json", {**facts, **metrics.json_fields()})
    print_table(retrieval_table(metrics, f"{args.dataset}, {split}"))


if __name__ == "__main__":
    main()
