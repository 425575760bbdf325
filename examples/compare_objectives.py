r"""Compare ways to pre-train: AMiF, AGA, MPMA, InfoNCE of whole pairs, and none.

    python examples/compare_objectives.py --output_dir comparison
    python examples/compare_objectives.py --arms none info_nce aga --seeds 1 2 3 --output_dir comparison \
        --pretraining dataset=rocov2 data_dir=DIR vision_model=NAME text_model=NAME image_size=112 \
        --fine_tuning dataset=slake data_dir=DIR2

All arms see equally many studies with the same encoders, optimiser and schedule, and are fine-tuned alike with a new
co-attention; checkpoints are chosen on validation, and the test split, where it has answers, is answered once. Runs are
kept in `--output_dir`: what is finished is never done again, so the same command goes on after an interruption. It
leaves `comparison.json`, `comparison.md` and `comparison.svg`.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from amif_command import arguments_first

with arguments_first():
    from amif.training.command_line import plain_errors
    from amif.training.evaluation.result_files import check_output_folder, replace_file, write_json
    from amif.training.experiments.arms import ARMS, LABELS
    from amif.training.recipes import absolute_paths, given, parse_arguments, read_recipe

RECIPES = Path(__file__).parent / "recipes"


@dataclass
class ComparisonArguments:
    """What is compared, and on what."""

    arms: list[str] = field(default_factory=lambda: list(ARMS), metadata={"help": f"Some of {', '.join(ARMS)}."})
    seeds: list[int] = field(default_factory=lambda: [42, 43, 44], metadata={"help": "Of both kinds of training."})
    pretraining_recipe: str = field(
        default=str(RECIPES / "comparison_pretraining.yaml"), metadata={"help": "Arguments of run_pretraining.py."}
    )
    fine_tuning_recipe: str = field(
        default=str(RECIPES / "comparison_fine_tuning.yaml"), metadata={"help": "Arguments of run_vqa.py."}
    )
    pretraining: list[str] = field(
        default_factory=list, metadata={"help": "Arguments that override the recipe's, each as name=value."}
    )
    fine_tuning: list[str] = field(default_factory=list, metadata={"help": "The same for run_vqa.py."})
    retrieval_only: bool = field(default=False, metadata={"help": "Do not fine-tune."})
    output_dir: str = field(default="comparison", metadata={"help": "Folder of the runs and the results."})

    def __post_init__(self) -> None:
        if self.retrieval_only and self.fine_tuning:
            raise ValueError(f"--fine_tuning {' '.join(self.fine_tuning)}: --retrieval_only does not fine-tune.")


@plain_errors()
def main() -> None:
    """Do the runs that are not done, and leave comparison.json, .md and .svg."""
    # 1. Arguments
    args = parse_arguments(ComparisonArguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_output_folder(args.output_dir)
    pretraining = absolute_paths(read_recipe(args.pretraining_recipe)) | given(args.pretraining)
    fine_tuning = absolute_paths(read_recipe(args.fine_tuning_recipe)) | given(args.fine_tuning)
    # Not before: help and a wrong word need not wait for them.
    from amif.training.experiments.objective_comparison import compare_objectives, objectives_table
    from amif.training.experiments.runs import Experiments
    from amif.training.reports.console import print_table
    from amif.training.reports.plots import seeds_plot
    from amif.training.reports.tables import markdown_text

    # 2. Runs
    experiments = Experiments(args.output_dir, Path(__file__).parent)
    result = compare_objectives(
        experiments, args.arms, args.seeds, pretraining, None if args.retrieval_only else fine_tuning
    )

    # 3. Results
    output, table = Path(args.output_dir), objectives_table(result)
    write_json(output / "comparison.json", result)
    replace_file(output / "comparison.md", markdown_text(table))
    figure = "recall_i2t@1" if args.retrieval_only else "accuracy"
    values = {
        LABELS[name]: arm.recalls[figure] if args.retrieval_only else arm.accuracy for name, arm in result.arms.items()
    }
    replace_file(output / "comparison.svg", seeds_plot(values, f"{figure} in %"))
    print_table(table)


if __name__ == "__main__":
    main()
