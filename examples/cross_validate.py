r"""Cross-validate fine-tuning: five models, each asked about the fifth that it was trained without.

    python examples/cross_validate.py --recipe examples/recipes/vqa_rad_by_question.yaml --output_dir folds \
        --arguments data_dir=DIR validation_by=image model_name_or_path=START

The arguments are those of run_vqa.py, each as name=value, and override the recipe's. Folds are of whole images, unless
`validation_by` says otherwise; data with a validation split of their own are refused. The last weights of each fold are
evaluated, and nothing is chosen on its questions; each is also asked on blank images. Runs are kept in `--output_dir`:
what is finished is never done again, so the same command goes on after an interruption. It leaves `predictions.jsonl`
and `metrics.json` of all questions together.
"""

import logging
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from amif_command import arguments_first

with arguments_first():
    from amif.training.command_line import plain_errors
    from amif.training.evaluation.result_files import check_output_folder, write_json, write_jsonl
    from amif.training.recipes import absolute_paths, given, parse_arguments, read_recipe


@dataclass
class CrossValidationArguments:
    """What is trained five times."""

    recipe: str = field(metadata={"help": "JSON or YAML file of arguments of run_vqa.py."})
    arguments: list[str] = field(
        default_factory=list, metadata={"help": "Arguments that override the recipe's, each as name=value."}
    )
    output_dir: str = field(default="folds", metadata={"help": "Folder of the runs and the results."})


@plain_errors()
def main() -> None:
    """Do the folds that are not done, and measure the answers to all questions together."""
    # 1. Arguments
    args = parse_arguments(CrossValidationArguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_output_folder(args.output_dir)
    arguments = absolute_paths(read_recipe(args.recipe)) | given(args.arguments)
    # Not before: help and a wrong word need not wait for them.
    from amif.training.experiments.cross_validation import cross_validate
    from amif.training.experiments.runs import Experiments
    from amif.training.reports.console import print_table
    from amif.training.reports.tables import comparison_table, metrics_table

    # 2. Runs
    experiments = Experiments(args.output_dir, Path(__file__).parent)
    result = cross_validate(experiments, arguments, shlex.join(sys.argv))

    # 3. Results
    output = Path(args.output_dir)
    write_jsonl(output / "predictions.jsonl", result.predictions)
    write_json(output / "metrics.json", result)
    print_table(metrics_table(result.metrics))
    for name, comparison in result.comparisons.items():
        print_table(comparison_table(comparison, "the model", name))


if __name__ == "__main__":
    main()
