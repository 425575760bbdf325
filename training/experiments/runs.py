"""Chains of runs of the example scripts: each is done once, leaves its record, and is reused by all that needs it."""

import hashlib
import json
import logging
import platform
import runpy
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..distributed import available_cores
from ..evaluation.result_files import write_json
from .launching import _can_fork, _fork, _start, _stopping_on_sigterm

logger = logging.getLogger(__name__)

RECORD_NAME, LOG_NAME = "record.json", "log.txt"


@dataclass(frozen=True)
class Checkpoint:
    """An argument's value: the folder of an earlier run, behind a prefix such as "amif:"."""

    run: "Run"
    prefix: str = ""


@dataclass(frozen=True)
class Run:
    """One run of an example script.

    Attributes:
        kind: what it is, for people and for estimates of time, such as "stage_one".
        script: the script's file name.
        arguments: its arguments by name, without the output folder; a `Checkpoint` stands for an earlier run's folder.
    """

    kind: str
    script: str
    arguments: Mapping[str, str | int | float | bool | list[str] | Checkpoint] = field(default_factory=dict)

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """Script and arguments as JSON holds them; an earlier run stands as its name."""
        arguments = {name: _plain(value) for name, value in sorted(self.arguments.items())}
        return {"script": self.script, "arguments": arguments}

    @cached_property
    def name(self) -> str:
        """Kind and a hash of the whole configuration, the earlier runs' included: two runs share both or none."""
        text = json.dumps(self.configuration, sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def needs(self) -> list["Run"]:
        """The runs whose checkpoints this one starts from or learns from."""
        return [value.run for value in self.arguments.values() if isinstance(value, Checkpoint)]


def _plain(value: object) -> object:
    return f"{value.prefix}{value.run.name}" if isinstance(value, Checkpoint) else value


class Experiments:
    """A folder of runs: one folder a run, under its name, with the run's output, its log and its record.

    A run is done where its record is, which is written last; a run that was interrupted goes on from its newest
    complete checkpoint, or from the beginning.

    Args:
        folder: where runs are kept.
        scripts: the folder of the example scripts.
        execute: runs one script; None forks this process, which has imported what the script imports, or where that is
            not possible starts another. Called with the script's path, its arguments, the working folder and the file
            for its output; raises `RuntimeError` where the script fails.
    """

    def __init__(
        self,
        folder: str | Path,
        scripts: str | Path,
        execute: Callable[[Path, list[str], Path, Path], None] | None = None,
    ) -> None:
        self.folder, self.scripts = Path(folder), Path(scripts)
        self._execute = execute or (_fork if _can_fork() else _start)

    def path(self, run: Run) -> Path:
        """The run's folder."""
        return self.folder / run.name

    def arguments(self, run: Run) -> list[str]:
        """The run's command line, to be started in this folder of runs."""
        words = [word for name, value in sorted(run.arguments.items()) for word in (f"--{name}", *_words(value))]
        return [*words, "--output_dir", run.name, "--resume_from_checkpoint", "true"]

    def record(self, run: Run) -> dict[str, Any] | None:
        """What the run has left, None where it is not done: see `perform`."""
        try:
            return json.loads((self.path(run) / RECORD_NAME).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def outstanding(self, runs: Sequence[Run]) -> list[Run]:
        """Those of `runs`, and of all that they need, that are not done: each once, in an order to follow."""
        ordered: dict[str, Run] = {}
        for run in runs:
            if run.name not in ordered and self.record(run) is None:
                ordered |= {before.name: before for before in self.outstanding(run.needs) if before.name not in ordered}
                ordered[run.name] = run
        return list(ordered.values())

    def perform(self, run: Run) -> dict[str, Any]:
        """Do one run, whose needs must be done, and write its record.

        Returns:
            The record: `kind`, `configuration`, `seed`, `command` (to be started in the folder of runs, with `examples`
            there or in its place the path of this project's), `metrics` (the run's metrics.json), `started`, `seconds`
            (of this last part, where the run was interrupted) and `machine`.

        Raises:
            RuntimeError: where the script fails; with the end of its output.
        """
        folder, started, clock = self.path(run), datetime.now(UTC), time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        arguments = self.arguments(run)
        self._execute((self.scripts / run.script).resolve(), arguments, self.folder, folder / LOG_NAME)
        record = {
            "kind": run.kind,
            "configuration": run.configuration,
            "seed": run.arguments.get("seed"),
            "command": f"python examples/{run.script} {shlex.join(arguments)}",
            "metrics": json.loads((folder / "metrics.json").read_text(encoding="utf-8")),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 1),
            "machine": machine_facts(),
        }
        write_json(folder / RECORD_NAME, record)
        return record

    def complete(self, runs: Sequence[Run]) -> None:
        """Do all of `runs`, and what they need, that is not done, and say how far it is and how long it may take."""
        ordered = self.outstanding(runs)
        logger.info(f"{len(ordered)} runs to do in {self.folder}.")
        if self._execute is _fork:
            for script in sorted({run.script for run in ordered}):
                runpy.run_path(str(self.scripts / script), run_name="imported")  # once, for all that are forked
        with _stopping_on_sigterm():
            for place, run in enumerate(ordered):
                if self.record(run) is not None:  # another process works in this folder too
                    continue
                left = self.seconds_left(ordered[place:])
                estimate = "" if left is None else f", about {left / 60:.0f} minutes left"
                logger.info(f"[{place + 1}/{len(ordered)}] {run.name}, seed {run.arguments.get('seed')}{estimate}")
                self.perform(run)

    def seconds_left(self, runs: Sequence[Run]) -> float | None:
        """Seconds that `runs` may take: the mean of those of their kind that are done, else of all; None: unknown."""
        seconds: dict[str, list[float]] = {}
        for file in self.folder.glob(f"*/{RECORD_NAME}"):
            record = json.loads(file.read_text(encoding="utf-8"))
            seconds.setdefault(record["kind"], []).append(record["seconds"])
        if not seconds:
            return None
        of_all = fmean(value for values in seconds.values() for value in values)
        return sum(fmean(seconds[run.kind]) if run.kind in seconds else of_all for run in runs)


def machine_facts() -> dict[str, str | int]:
    """What a time depends on: processor, cores this process may use, and versions."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": available_cores(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "accelerator": str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "none",
        **{package: version(package) for package in ("torch", "transformers")},
    }


def _words(value: object) -> list[str]:
    value = _plain(value)
    if isinstance(value, list):
        return [str(item) for item in value]
    return [str(value).lower() if isinstance(value, bool) else str(value)]
