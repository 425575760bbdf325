r"""How well a pre-trained checkpoint tells images' labels: from prompts alone, and by a linear probe.

    python examples/run_classification.py --model_name_or_path CHECKPOINT --output_dir OUT
    python examples/run_classification.py --model_name_or_path CHECKPOINT --dataset rocov2 --data_dir DIR \
        --min_label_count 20 --output_dir OUT
    python examples/run_classification.py --model_name_or_path CHECKPOINT --dataset images.csv --image_column file \
        --label_column diagnosis --output_dir OUT

Checkpoints of AMiF, AGA and MPMA are taken alike. Zero-shot: an image has the label whose prompts it is most similar
to. Linear probe: a logistic regression on frozen features of the image encoder, its regularisation chosen on
validation. It prints a table and writes `metrics.json`: accuracy and areas under the ROC curve with 95 % intervals.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from amif_command import arguments_first

with arguments_first():
    from amif.training.argument_checks import COUNT, check_bounds
    from amif.training.command_line import plain_errors
    from amif.training.evaluation.result_files import write_json
    from amif.training.pretraining.arguments import TrialArguments
    from amif.training.recipes import parse_arguments

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from amif.training.data.labels import LabelColumn
    from amif.training.evaluation.classification import ClassificationMetrics, LinearProbeMetrics, ZeroShotMetrics
    from amif.training.pretraining.trial import Trial

logger = logging.getLogger("run_classification")

PROMPTS = Path(__file__).parent / "prompts"
# Which column of the sets that are known by name holds labels.
LABEL_COLUMNS = {"phantom": "finding", "rocov2": "concepts"}


@dataclass
class ClassificationArguments(TrialArguments):
    """Which model is tried on which images and labels."""

    label_column: str = field(
        default="",
        metadata={"help": "Column of labels, one or a list a row; default: phantom's finding, rocov2's concepts."},
    )
    label_separator: str | None = field(
        default=None, metadata={"help": "What parts the labels of a row, where it may have several in one text."}
    )
    labels: list[str] | None = field(default=None, metadata={"help": "Only these labels."})
    min_label_count: int = field(default=1, metadata={"help": "Only labels of so many training images or more."})
    prompts: str | None = field(
        default=None, metadata={"help": "JSON file of prompts by label; default: ours for phantom and rocov2."}
    )
    prompt_template: str = field(default="{}", metadata={"help": "A label's prompt where there is no file."})
    output_dir: str = field(default="classification", metadata={"help": "Folder of metrics.json."})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, {"min_label_count": COUNT})
        self.label_column = self.label_column or LABEL_COLUMNS.get(self.name, "")
        if not self.label_column:
            raise ValueError("Name the column of labels: --label_column.")
        if self.prompt_template.count("{}") != 1 or set(self.prompt_template.replace("{}", "")) & set("{}"):
            raise ValueError(f"--prompt_template {self.prompt_template!r}: give a text with one {{}} for the label.")
        if self.prompts is not None and self.prompt_template != "{}":
            raise ValueError("--prompts names a file of whole prompts: leave out --prompt_template.")
        if self.name in LABEL_COLUMNS and self.prompts is None:
            self.prompts = str(PROMPTS / f"{self.name}.json")

    @property
    def reader_options(self) -> dict[str, str | int | None]:
        """As of any pairs, but one's own images need no text."""
        needless = Path(self.name).exists() and self.text_column is None
        return super().reader_options | ({"text_column": None} if needless else {})


@plain_errors()
def main() -> None:
    """Measure the zero-shot labels, the linear probe and the most frequent label, and leave metrics.json."""
    # 1. Arguments
    args = parse_arguments(ClassificationArguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Not before: help and a wrong word need not wait for them.
    from amif.training.data.labels import find_labels
    from amif.training.pretraining.embeddings import image_features, read_prompts
    from amif.training.pretraining.trial import begin_trial
    from amif.training.reports.console import print_table
    from amif.training.reports.tables import classification_table

    prompts = None if args.prompts is None else read_prompts(args.prompts)

    # 2. Model, images and labels
    trial = begin_trial(args)
    splits, split = trial.splits, trial.split
    if split == "validation":
        logger.warning("The linear probe is chosen on validation: measured there too, it looks better than it is.")
    column = find_labels(splits, args.label_column, args.label_separator, args.labels, args.min_label_count)
    usable = {name: column.usable(splits[name]) for name in {"train", "validation", split}}
    for name, rows in usable.items():
        logger.info(f"{name}: {len(rows)} of {len(splits[name])} images, {len(column.names)} labels")
    encoded = {
        name: image_features(trial.model, trial.processor, rows, args.batch_size) for name, rows in usable.items()
    }

    # 3. Measures
    targets = {name: column.targets(rows) for name, rows in usable.items()}
    features = {name: pair[1].numpy() for name, pair in encoded.items()}
    by_prompts = zero_shot(args, prompts, trial, column, usable[split], encoded[split][0])
    results: dict[str, ClassificationMetrics] = {} if by_prompts is None else {"zero-shot": by_prompts}
    results["linear probe"] = linear_probe(column, usable[split], split, features, targets)
    results["most frequent label"] = most_frequent(column, usable[split], split, targets)

    # 4. Results
    facts = {"objective": trial.objective, "dataset": args.name, "split": split, "label_column": column.column}
    write_json(Path(args.output_dir) / "metrics.json", facts | results)
    print_table(classification_table(results, f"{args.name}, {split}: {column.column}, {len(column.names)} labels"))


def zero_shot(
    args: ClassificationArguments,
    given: dict[str, list[str]] | None,
    trial: "Trial",
    column: "LabelColumn",
    rows: "Dataset",
    images: "torch.Tensor",
) -> "ZeroShotMetrics | None":
    """Of the labels that have prompts, on images that have exactly one of them; None where that leaves fewer than two
    labels or no image.
    """
    from amif.training.evaluation.classification import ZeroShotMetrics, classification_metrics
    from amif.training.pretraining.embeddings import label_embeddings

    prompts = {name: [args.prompt_template.format(name)] for name in column.names}
    if given is not None:
        if unknown := sorted(given.keys() - set(column.names)):
            logger.warning(f"{args.prompts} has prompts of {', '.join(unknown)}, which no image has as a label.")
        prompts = {name: given[name] for name in column.names if name in given}
    if len(prompts) < 2:
        logger.warning("Fewer than two labels have prompts: there is no zero-shot classification.")
        return None
    places = [column.names.index(name) for name in prompts]
    targets = column.targets(rows)[:, places]
    kept = np.flatnonzero(targets.sum(axis=1) == 1)
    scores = (images @ label_embeddings(trial.model, trial.processor, prompts).T).numpy()
    if not len(kept):
        logger.warning("No image has exactly one of the labels with prompts: there is no zero-shot classification.")
        return None
    ids = [rows["study_id"][row] for row in kept]
    metrics = classification_metrics(targets[kept], scores[kept], list(prompts), ids)
    return ZeroShotMetrics(**vars(metrics), prompts=prompts)


def linear_probe(
    column: "LabelColumn", rows: "Dataset", split: str, features: dict[str, np.ndarray], targets: dict[str, np.ndarray]
) -> "LinearProbeMetrics":
    """Fitted on the training split, chosen on validation."""
    from amif.training.evaluation.classification import LinearProbeMetrics, classification_metrics
    from amif.training.evaluation.linear_probe import fit_linear_probe

    training, validation = ((features[name], targets[name]) for name in ("train", "validation"))
    probe = fit_linear_probe(*training, *validation, column.several)
    scores = probe.scores(features[split])
    decided = scores >= 0.5 if column.several else None
    metrics = classification_metrics(targets[split], scores, column.names, rows["study_id"], decided)
    return LinearProbeMetrics(**vars(metrics), strength=probe.strength, features=features["train"].shape[1])


def most_frequent(
    column: "LabelColumn", rows: "Dataset", split: str, targets: dict[str, np.ndarray]
) -> "ClassificationMetrics":
    """The baseline that sees no image: every image has the labels of most training images."""
    from amif.training.evaluation.classification import classification_metrics

    scores = np.broadcast_to(targets["train"].mean(axis=0), targets[split].shape)
    decided = scores >= 0.5 if column.several else None
    return classification_metrics(targets[split], scores, column.names, rows["study_id"], decided)


if __name__ == "__main__":
    main()
