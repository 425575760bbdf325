"""Whether the scripts take the arguments of runs: said before the first run begins."""

from collections.abc import Sequence

from ..fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from ..fine_tuning.training_arguments import AmifVqaArguments
from ..pretraining.arguments import PretrainingDataArguments
from ..pretraining.objectives import OBJECTIVES
from ..recipes import arguments_of
from .runs import Run


def check_runs(runs: Sequence[Run]) -> None:
    """Make sure that the scripts take the arguments of all runs.

    Raises:
        ValueError: If one does not, naming its kind.
    """
    for run in runs:
        types = (VqaModelArguments, FineTuningDataArguments, AmifVqaArguments)
        if run.script == "run_pretraining.py":
            objective = OBJECTIVES[str(run.configuration.arguments.get("objective", "amif"))]
            types = (objective.model_arguments, PretrainingDataArguments, objective.arguments)
        # bf16 would warn at each run where there is none.
        arguments_of(types, run.configuration.arguments | {"bf16": False}, f"{run.script} for {run.kind}")
