"""Chains of runs of the example scripts: each is done once, leaves its record, and is reused by all that needs it."""

import hashlib
import json
import logging
import platform
import runpy
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..checkpoints.run_settings import RUN_SETTINGS_NAME
from ..distributed import available_cores, only_run_in
from ..evaluation.prediction_rows import Prediction, read_prediction_rows
from ..evaluation.result_files import write_json
from ..evaluation.results import Result
from .launching import Launch, can_fork, fork_script, start_script, stopping_on_sigterm

logger = logging.getLogger(__name__)

RECORD_NAME, LOG_NAME = "record.json", "log.txt"

# Arguments that say which rows a run learns from.
_OF_ROWS = (
    *("dataset", "data_dir", "image_dir", "reports_dir", "vqa_dataset", "num_studies", "language", "on_bad_row"),
    *("image_column", "question_column", "answer_column", "text_column", "study_column", "max_train_samples", "refit"),
    *("answer_type_column", "question_type_column", "ignore_columns", "variant"),
    *("validation_by", "validation_fold", "train_question_types", "also_train_on", "leave_out_images_of"),
    "add_vqa_pairs",
    "mixing",
)

PlainValue = str | int | float | bool | list[str]


@dataclass(frozen=True)
class RunFolder:
    """An argument's value: the folder of an earlier run, behind a prefix such as "amif:"."""

    run: "Run"
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.prefix}{self.run.name}"


@dataclass(frozen=True)
class Configuration(Result):
    """Script and arguments of a run as JSON holds them; an earlier run's folder stands as its name."""

    script: str
    arguments: dict[str, PlainValue]


@dataclass(frozen=True)
class Run:
    """One run of an example script.

    Attributes:
        kind: What it is, for people and for estimates of time, such as "stage_one".
        script: The script's file name.
        arguments: Its arguments by name, without the output folder.
    """

    kind: str
    script: str
    arguments: Mapping[str, PlainValue | RunFolder] = field(default_factory=dict)

    @cached_property
    def configuration(self) -> Configuration:
        """Script and arguments in the order of their names."""
        plain = {
            name: str(value) if isinstance(value, RunFolder) else value
            for name, value in sorted(self.arguments.items())
        }
        return Configuration(self.script, plain)

    @cached_property
    def name(self) -> str:
        """Kind and a hash of the whole configuration, the earlier runs' included: two runs share both or none."""
        text = json.dumps(asdict(self.configuration), sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def needs(self) -> list["Run"]:
        """The runs whose folders this one starts from or learns from."""
        return [value.run for value in self.arguments.values() if isinstance(value, RunFolder)]

    @property
    def command_line(self) -> list[str]:
        """The script's arguments, to be started in the folder of all runs."""
        words = []
        for name, value in self.configuration.arguments.items():
            words += [f"--{name}", *plain_words(value)]
        return [*words, "--output_dir", self.name, "--resume_from_checkpoint", "true"]


@dataclass(frozen=True)
class RunRecord(Result):
    """What a run that is done has left, the content of its `record.json`.

    Attributes:
        kind: The run's kind.
        configuration: Script and arguments.
        seed: The run's seed; None where it has none of its own.
        command: To be started in the folder of runs, with `examples` there or in its place the path of this project's.
        metrics: The run's `metrics.json`, whose keys depend on the script.
        started: Date and time in UTC.
        seconds: How long it took, of the last part alone where the run was interrupted.
        machine: The `machine_facts`.
    """

    kind: str
    configuration: Configuration
    seed: PlainValue | None
    command: str
    metrics: Mapping[str, Any]
    started: str
    seconds: float
    machine: dict[str, str | int]

    @classmethod
    def read(cls, file: Path) -> "RunRecord":
        """The record that a file holds; FileNotFoundError where there is none."""
        values = json.loads(file.read_text(encoding="utf-8"))
        return cls(**values | {"configuration": Configuration(**values["configuration"])})


class Experiments:
    """A folder of runs: one folder a run, under its name, with the run's output, its log and its record.

    A run is done where its record is, which is written last; a run that was interrupted goes on from its newest
    complete checkpoint, or from the beginning.

    Args:
        folder: Where runs are kept.
        scripts: The folder of the example scripts.
        launch: Runs one script, and raises `RuntimeError` where it fails; None is `fork_script`, or where that is not
            possible `start_script`.
    """

    def __init__(self, folder: str | Path, scripts: str | Path, launch: Launch | None = None) -> None:
        self.folder, self.scripts = Path(folder), Path(scripts)
        self._launch = launch or (fork_script if can_fork() else start_script)

    def path(self, run: Run) -> Path:
        """The run's folder."""
        return self.folder / run.name

    def is_done(self, run: Run) -> bool:
        """Whether the run has ended and left its record."""
        return (self.path(run) / RECORD_NAME).is_file()

    def record(self, run: Run) -> RunRecord:
        """What a run that is done has left; FileNotFoundError where it is not done."""
        return RunRecord.read(self.path(run) / RECORD_NAME)

    def predictions(self, run: Run) -> list[Prediction]:
        """The answers of a run that is done, its `predictions.jsonl`."""
        return read_prediction_rows(self.path(run) / "predictions.jsonl")

    def outstanding(self, runs: Sequence[Run]) -> list[Run]:
        """Those of `runs`, and of all that they need, that are not done: each once, in an order to follow."""
        ordered: dict[str, Run] = {}
        for run in runs:
            if run.name not in ordered and not self.is_done(run):
                ordered |= {before.name: before for before in self.outstanding(run.needs) if before.name not in ordered}
                ordered[run.name] = run
        return list(ordered.values())

    def perform(self, run: Run) -> RunRecord:
        """Do one run, whose needs must be done, and write its record.

        Raises:
            RuntimeError: If the script fails; with the end of its output.
        """
        folder, started, clock = self.path(run), datetime.now(UTC), time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._launch((self.scripts / run.script).resolve(), run.command_line, self.folder, folder / LOG_NAME)
        record = RunRecord(
            kind=run.kind,
            configuration=run.configuration,
            seed=run.configuration.arguments.get("seed"),
            command=f"python examples/{run.script} {shlex.join(run.command_line)}",
            metrics=json.loads((folder / "metrics.json").read_text(encoding="utf-8")),
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 1),
            machine=machine_facts(),
        )
        write_json(folder / RECORD_NAME, record)
        return record

    def complete(self, runs: Sequence[Run]) -> None:
        """Do all of `runs`, and what they need, that is not done, and say how far it is and how long it may take.

        Raises:
            RuntimeError: If another process is at work in this folder, or a script fails.
            ValueError: If the data that runs name have changed between two of them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_run_in(self.folder), stopping_on_sigterm():
            ordered = self.outstanding(runs)
            logger.info(f"{len(ordered)} runs to do in {self.folder}.")
            if self._launch is fork_script:
                for script in sorted({run.script for run in ordered}):
                    runpy.run_path(str(self.scripts / script), run_name="imported")  # once, for all that are forked
            for place, run in enumerate(ordered):
                left = self.seconds_left(ordered[place:])
                estimate = "" if left is None else f", about {left / 60:.0f} minutes left"
                logger.info(f"[{place + 1}/{len(ordered)}] {run.name}, seed {run.arguments.get('seed')}{estimate}")
                self.perform(run)
            self._check_same_data()

    def _check_same_data(self) -> None:
        """Refuse runs that name the same data and have learned from other rows: these changed between two runs."""
        known: dict[tuple[str, ...], tuple[str, str]] = {}
        for file in sorted(self.folder.glob(f"*/{RECORD_NAME}")):
            settings = file.with_name(RUN_SETTINGS_NAME)
            configuration = RunRecord.read(file).configuration
            if not settings.is_file():  # it was only evaluated
                continue
            rows = json.loads(settings.read_text(encoding="utf-8"))["values"].get("training data")
            data = (configuration.script, *(str(configuration.arguments.get(name)) for name in _OF_ROWS))
            name, other = known.setdefault(data, (file.parent.name, rows))
            if other != rows:
                raise ValueError(
                    f"The data have changed between the runs {name} and {file.parent.name} in {self.folder}: one "
                    f"learned from {other}, the other from {rows}. Put the data back and delete the folders of those "
                    "runs that learned from others, or give another --output_dir."
                )

    def seconds_left(self, runs: Sequence[Run]) -> float | None:
        """Seconds that `runs` may take: the mean of those of their kind that are done, else of all; None: unknown."""
        seconds: dict[str, list[float]] = {}
        for file in self.folder.glob(f"*/{RECORD_NAME}"):
            record = RunRecord.read(file)
            seconds.setdefault(record.kind, []).append(record.seconds)
        if not seconds:
            return None
        of_all = fmean(value for values in seconds.values() for value in values)
        return sum(fmean(seconds[run.kind]) if run.kind in seconds else of_all for run in runs)


def check_not_set_here(arguments: Mapping[str, object], names: Sequence[str]) -> None:
    """Make sure that nobody gives what a chain of runs says itself and would overwrite.

    Raises:
        ValueError: If one is given.
    """
    if given := [name for name in names if name in arguments]:
        raise ValueError(f"{', '.join(given)}: the chain of runs says that itself. Leave it out of the arguments.")


def plain_words(value: PlainValue) -> list[str]:
    """The words of a command line that give an argument this value."""
    values = value if isinstance(value, list) else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values]


def machine_facts() -> dict[str, str | int]:
    """What a time depends on: processor, cores this process may use, and versions."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": available_cores(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "accelerator": str(accelerator or "none"),
        **{package: version(package) for package in ("torch", "transformers")},
    }
