r"""Audit a data set, or what it shares with another one, before a number on it is believed.

    python examples/audit_dataset.py --dataset vqa_rad --data_dir DIR --output_dir OUT

What VQA-RAD's test split shares with the training images of another set:

    python examples/audit_dataset.py --dataset vqa_rad --data_dir DIR --against vqa_med_2019 --against_dir DIR2 \
        --output_dir OUT

It prints a table and writes `audit.json` with the ids of everything that was counted.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from amif_command import arguments_first

with arguments_first():
    from amif.training.command_line import plain_errors
    from amif.training.data.arguments import VqaSourceArguments
    from amif.training.evaluation.result_files import check_output_folder, write_json
    from amif.training.recipes import parse_arguments

if TYPE_CHECKING:
    from datasets import DatasetDict

    from amif.training.data.image_overlap import ImagePrints


@dataclass
class AuditArguments(VqaSourceArguments):
    """What to audit."""

    languages: list[str] | None = field(default=None, metadata={"help": "SLAKE's languages, read as one set: en zh."})
    against: str | None = field(default=None, metadata={"help": "Another data set, to find what they share."})
    against_dir: str | None = field(default=None, metadata={"help": "Folder of the other data set."})
    output_dir: str = field(default="audit", metadata={"help": "Folder of audit.json."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.against is None and self.against_dir is not None:
            raise ValueError(f"--against_dir {self.against_dir}: name the data set that lies there as --against.")


@plain_errors()
def main() -> None:
    """Leave `audit.json`, with the ids of all that is found, and print what it counts."""
    # 1. Arguments
    args = parse_arguments(AuditArguments, __doc__, needs_models=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_output_folder(args.output_dir)
    # Not before: help and a wrong word need not wait for them.
    from amif.training.data import load_vqa_dataset
    from amif.training.data.references import acceptable_answers_of
    from amif.training.evaluation.audit import audit_pair, audit_splits
    from amif.training.reports.audit_tables import audit_table, pair_table
    from amif.training.reports.console import print_table

    # 2. Data: the splits that the source has, none made from another
    splits = load_languages(args)
    other = None if args.against is None else load_vqa_dataset(args.against, args.against_dir, validation_by=None)
    prints = print_images(splits, args.name)

    # 3. Audit
    audit = audit_splits({str(name): rows for name, rows in splits.items()}, prints, acceptable_answers_of(args.name))
    content: dict[str, object] = {"dataset": args.name, **audit.json_fields()}
    tables = [audit_table(audit, args.name)]
    if args.against is not None and other is not None:
        pair = audit_pair(print_images(other, args.against), prints, (args.against, args.name))
        content["against"] = {"dataset": args.against, **pair.json_fields()}
        tables.append(pair_table(pair, args.name, args.against))

    # 4. Results
    output = Path(args.output_dir)
    write_json(output / "audit.json", content)
    for table in tables:
        print_table(table)
    print(f"Ids of all of these: {output / 'audit.json'}")


def load_languages(args: AuditArguments) -> "DatasetDict":
    """The splits that the source has, or one after the other the rows of the languages that are asked for."""
    from datasets import DatasetDict, concatenate_datasets

    if args.languages is None:
        return args.load()
    parts = [args.load(language=language) for language in args.languages]
    return DatasetDict({name: concatenate_datasets([part[name] for part in parts]) for name in parts[0]})


def print_images(splits: "DatasetDict", name: str) -> "dict[str, ImagePrints]":
    """What is compared of the distinct images of each split, each opened once, with a bar named after the set."""
    from tqdm import tqdm

    from amif.training.data.image_overlap import image_prints

    return {
        str(split): image_prints(rows, lambda images, split=split: tqdm(images, desc=f"{name} {split}", unit="image"))
        for split, rows in splits.items()
    }


if __name__ == "__main__":
    main()
