"""The paper's ablations as data, and the chains of runs that measure them: two stages of pre-training, fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from .runs import Checkpoint, Experiments, Run

Arguments = dict[str, str | int | float | bool]


@dataclass(frozen=True)
class AblationRow:
    """One row of a table of the paper, as changes to a `Setting`.

    Attributes:
        label: what the row is, in words.
        stage_one: changes to the arguments of stage one; None: no pre-training.
        stage_two: the same of stage two; None: fine-tuning starts from stage one.
        fine_tuning: the same of fine-tuning.
        teacher: "default" for the setting's; the name of one that the setting trains; or as `--teacher` takes it. None:
            one-hot labels, and all negatives alike.
        start: "teacher" starts fine-tuning from the setting's teacher; None: from this row's pre-training.
        published: the paper's figures in percent, in the order of the table's columns; None: it has no such row.
    """

    label: str
    stage_one: Arguments | None = None
    stage_two: Arguments | None = None
    fine_tuning: Arguments = field(default_factory=dict)
    teacher: str | None = None
    start: str | None = None
    published: list[float] | None = None


@dataclass(frozen=True)
class Ablation:
    """A table of the paper: its caption, the columns of its figures, its rows by name, and the row to compare with."""

    caption: str
    baseline: str
    columns: list[str]
    rows: dict[str, AblationRow]


@dataclass(frozen=True)
class Setting:
    """On what, and how large, ablations are run.

    Attributes:
        description: data, model and lengths of training in words, for the results.
        differences: what keeps the figures from being compared with the paper's, a sentence each.
        common: arguments of every run.
        stage_one, stage_two, fine_tuning: arguments of each kind of run.
        teacher: the teacher of rows that say "default", as `AblationRow.teacher`.
        teachers: by name, arguments of `run_pretraining.py` for teachers that are trained here, once for all seeds.
    """

    description: str
    differences: list[str]
    common: Arguments
    stage_one: Arguments
    stage_two: Arguments
    fine_tuning: Arguments
    teacher: str
    teachers: dict[str, Arguments] = field(default_factory=dict)


class TeacherMissing(Exception):
    """A row's teacher is not on this machine, or cannot be what the row wants of it; the message says what helps."""


def load_ablation(path: str | Path) -> Ablation:
    """Read a table from YAML; TypeError for a name that `Ablation` or `AblationRow` does not have."""
    values = _read(path)
    rows = {str(name): AblationRow(**row) for name, row in values.pop("rows").items()}
    return Ablation(rows=rows, **values)


def load_setting(path: str | Path) -> Setting:
    """Read a setting from YAML; TypeError for a name that `Setting` does not have."""
    return Setting(**_read(path))


def _read(path: str | Path) -> dict[str, Any]:
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def chain_of(row: AblationRow, setting: Setting, seed: int) -> dict[str, Run]:
    """The runs that measure a row, by kind, in order: "stage_one" and "stage_two" where it has them, "fine_tuning".

    Rows that share a stage, its arguments and all before it, get equal runs, which `Experiments` does once.

    Raises:
        TeacherMissing: where the row's teacher cannot be had.
    """
    chain: dict[str, Run] = {}
    teacher = {} if row.teacher is None else {"teacher": _teacher(row.teacher, setting)}
    for kind, changes in (("stage_one", row.stage_one), ("stage_two", row.stage_two)):
        if changes is not None:
            arguments = setting.common | getattr(setting, kind) | changes | teacher | {"seed": seed}
            chain[kind] = Run(kind, "run_pretraining.py", arguments | _start_from(chain))
    start = _start_from(chain)
    if row.start == "teacher":
        start = {"model_name_or_path": _trained_teacher(setting)}
    arguments = setting.common | setting.fine_tuning | row.fine_tuning | {"seed": seed}
    chain["fine_tuning"] = Run("fine_tuning", "run_vqa.py", arguments | start)
    return chain


def _start_from(chain: dict[str, Run]) -> dict[str, Checkpoint]:
    return {"model_name_or_path": Checkpoint(list(chain.values())[-1])} if chain else {}


def _teacher(name: str, setting: Setting) -> str | Checkpoint:
    name = setting.teacher if name == "default" else name
    if name in setting.teachers:
        run = Run("teacher", "run_pretraining.py", setting.common | setting.stage_one | setting.teachers[name])
        return Checkpoint(run, "amif:")
    check_teacher(name)
    return name


def _trained_teacher(setting: Setting) -> Checkpoint:
    teacher = _teacher("default", setting)
    if isinstance(teacher, Checkpoint):
        return Checkpoint(teacher.run)
    raise TeacherMissing(f"--teacher {teacher} is no AMiF checkpoint to start fine-tuning from")


def check_teacher(spec: str) -> None:
    """Raise `TeacherMissing` where a teacher, as for `--teacher`, is not on this machine; nothing is downloaded."""
    kind, _, name = spec.partition(":")
    if kind == "column":
        raise TeacherMissing(f"--teacher {spec} needs studies with embeddings in the columns {name}_*_embeds")
    if Path(name).exists():
        return
    try:
        snapshot_download(name, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        raise TeacherMissing(f"--teacher {spec} is not on this machine; `hf download {name}` gets it") from None


def chains(
    ablation: Ablation, setting: Setting, seeds: Sequence[int]
) -> tuple[dict[str, dict[int, dict[str, Run]]], dict[str, str]]:
    """The chain of each row and seed, and for each row that cannot be run the reason."""
    found: dict[str, dict[int, dict[str, Run]]] = {}
    skipped = {}
    for name, row in ablation.rows.items():
        try:
            found[name] = {seed: chain_of(row, setting, seed) for seed in seeds}
        except TeacherMissing as error:
            skipped[name] = str(error)
    return found, skipped


def run_chains(experiments: Experiments, all_chains: Sequence[dict[str, dict[int, dict[str, Run]]]]) -> None:
    """Do all runs of the tables, those of one seed before those of the next, so that early figures cover all rows."""
    seeds = {seed: None for table in all_chains for of_seeds in table.values() for seed in of_seeds}
    experiments.complete(
        [of_seeds[seed]["fine_tuning"] for seed in seeds for table in all_chains for of_seeds in table.values()]
    )
