r"""Measure the paper's ablations: Tables 2 to 5 and Figure 6, row by row and seed by seed.

    python examples/run_ablation.py --table 2 3 4 5 --figure 6 --output_dir ablation

Each row is a chain: pre-training in two stages, then fine-tuning. What rows share is trained once, and what is done is
never done again: after an interruption the same command goes on. Every table is printed beside the paper's figures and
written as JSON, Markdown, PNG and SVG; each figure's JSON names the record of the run that it comes from, with its
configuration, seed and command. Rows are in `examples/ablations/tableN.yaml`; what they are measured on is a setting,
by default small generated studies. With the paper's:

    python examples/run_ablation.py --table 2 3 4 5 --setting examples/ablations/paper.yaml \
        --pretraining_dirs MIMIC ROCO MEDICAT --dataset slake --data_dir SLAKE --output_dir ablation-slake
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amif_command import arguments_first

with arguments_first():
    from amif.training.argument_checks import check_seeds
    from amif.training.command_line import plain_errors
    from amif.training.evaluation.result_files import check_output_folder, replace_file, write_json
    from amif.training.recipes import absolute_paths, parse_arguments

if TYPE_CHECKING:
    from amif.training.experiments.ablation import Setting
    from amif.training.experiments.ablation_results import AblationResult

ABLATIONS = Path(__file__).parent / "ablations"


@dataclass
class AblationArguments:
    """Which tables, on what, and how often."""

    table: list[str] = field(default_factory=list, metadata={"help": "Tables of the paper: 2, 3, 4, 5."})
    figure: list[str] = field(default_factory=list, metadata={"help": "Figures of the paper: 6."})
    setting: str = field(
        default=str(ABLATIONS / "phantom.yaml"), metadata={"help": "YAML of data, model and lengths of training."}
    )
    pretraining_dirs: list[str] = field(
        default_factory=list, metadata={"help": "Folders of the setting's image-report pairs, in its order."}
    )
    dataset: str | None = field(default=None, metadata={"help": "Questions to answer in place of the setting's."})
    data_dir: str | None = field(default=None, metadata={"help": "Their folder."})
    seeds: list[int] = field(default_factory=lambda: [42, 43, 44], metadata={"help": "Of every run of a chain."})
    report_only: bool = field(default=False, metadata={"help": "Run nothing: tables of what is done."})
    output_dir: str = field(default="ablation", metadata={"help": "Folder of all runs and results."})

    def __post_init__(self) -> None:
        unknown = sorted({*self.table} - set("2345")) + sorted({*self.figure} - {"6"})
        if unknown or not self.names:
            raise ValueError(
                f"Give --table with some of 2, 3, 4, 5, or --figure 6; not {', '.join(unknown) or 'none'}."
            )

        check_seeds(self.seeds)

    @property
    def names(self) -> list[str]:
        """The files of the ablations, without suffix."""
        return [f"table{number}" for number in self.table] + [f"figure{number}" for number in self.figure]

    def load_setting(self) -> "Setting":
        """The setting, on the data that are named here; the errors are those of `ablation.load_setting`."""
        from amif.training.experiments.ablation import load_setting

        setting = load_setting(self.setting)
        pairs = {"data_dir": self.pretraining_dirs} if self.pretraining_dirs else {}
        questions = {"dataset": self.dataset, "data_dir": self.data_dir}
        pairs, questions = map(absolute_paths, (pairs, {name: one for name, one in questions.items() if one}))
        return replace(
            setting,
            stage_one=setting.stage_one | pairs,
            stage_two=setting.stage_two | pairs,
            fine_tuning=setting.fine_tuning | questions,
        )


@plain_errors()
def main() -> None:
    """Do the runs that are not done, or none with --report_only, and leave the files of each ablation."""
    # 1. Arguments
    args = parse_arguments(AblationArguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    check_output_folder(args.output_dir)
    # Not before: help and a wrong word need not wait for them.
    from amif.training.data import load_pretraining_dataset, load_vqa_dataset
    from amif.training.experiments.ablation import chains, load_ablation, run_chains
    from amif.training.experiments.ablation_results import ablation_results
    from amif.training.experiments.runs import Experiments

    setting = args.load_setting()
    ablations = {name: load_ablation(ABLATIONS / f"{name}.yaml") for name in args.names}

    # 2. Runs
    experiments = Experiments(args.output_dir, Path(__file__).parent)
    planned = {name: chains(ablation, setting, args.seeds) for name, ablation in ablations.items()}
    for name, (_, skipped) in planned.items():
        for row, reason in skipped.items():
            logging.info(f"{name}, row {row} is skipped: {reason}.")
    if not args.report_only:
        if setting.common.get("dataset") == "phantom":  # drawn here once, for all runs
            load_pretraining_dataset("phantom", num_studies=setting.common["num_studies"])
            load_vqa_dataset("phantom", num_studies=setting.common["num_studies"])
        run_chains(experiments, [found for found, _ in planned.values()])

    # 3. Results
    for name, (found, skipped) in planned.items():
        result = ablation_results(ablations[name], setting, found, skipped, experiments)
        write_results(Path(args.output_dir), name, result)


def write_results(output: Path, name: str, result: "AblationResult") -> None:
    """Leave NAME.json, .md, .png and .svg in the folder, which is made, and print the tables."""
    from amif.training.experiments.ablation_figure import ablation_figure
    from amif.training.experiments.ablation_results import accuracy_table, learned_table
    from amif.training.reports.console import print_table
    from amif.training.reports.tables import markdown_text

    tables = [table for table in (accuracy_table(result), learned_table(result)) if table is not None]
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / f"{name}.json", result)
    replace_file(output / f"{name}.md", "\n".join(map(markdown_text, tables)))
    figure = ablation_figure(result)
    for suffix in ("png", "svg"):
        figure.savefig(output / f"{name}.{suffix}", dpi=200)
    for table in tables:
        print_table(table)


if __name__ == "__main__":
    main()
