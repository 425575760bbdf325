"""The paper's ablations as data, and the chains of runs that measure them: two stages of pre-training, fine-tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from ...modeling_amif.open_clip_amif import is_open_clip
from ..recipes import read_recipe
from .run_arguments import check_runs
from .runs import Experiments, PlainValue, Run, RunFolder, check_not_set_here

Arguments = dict[str, PlainValue]

_OF_ENCODERS = ("vision_model", "text_model", "vision_layers", "text_layers")

# The runs that measure a row with one seed, by kind, in order.
Chain = dict[str, Run]


@dataclass(frozen=True)
class AblationRow:
    """One row of a table of the paper, as changes to a `Setting`.

    Attributes:
        label: What the row is, in words.
        stage_one: Changes to the arguments of stage one; None: no pre-training.
        stage_two: The same of stage two; None: fine-tuning starts from stage one.
        fine_tuning: The same of fine-tuning.
        teacher: "default" for the setting's; the name of one that the setting trains; or as `--teacher` takes it. None:
            one-hot labels, and all negatives alike.
        start: "teacher" starts fine-tuning from the setting's teacher, of one of open_clip from its towers; None: from
            this row's pre-training.
        published: The paper's figures in percent, in the order of the table's columns; None: it has no such row.
        before: The row that this one changes in one thing, which says what that thing is worth; None: the table's
            baseline.
    """

    label: str
    stage_one: Arguments | None = None
    stage_two: Arguments | None = None
    fine_tuning: Arguments = field(default_factory=dict)
    teacher: str | None = None
    start: str | None = None
    published: list[float] | None = None
    before: str | None = None


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
        description: Data, model and lengths of training in words, for the results.
        differences: What keeps the figures from being compared with the paper's, a sentence each.
        common: Arguments of every run.
        stage_one: Arguments of stage one.
        stage_two: Arguments of stage two.
        fine_tuning: Arguments of fine-tuning.
        teacher: The teacher of rows that say "default", as `AblationRow.teacher`.
        teachers: By name, arguments of `run_pretraining.py` for teachers that are trained here, once for all seeds.
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
    """Read a table from YAML.

    Raises:
        TypeError: If it has a name that `Ablation` or `AblationRow` does not have.
        ValueError: If a row is to be compared with one that the table does not have.
    """
    values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    rows = {str(name): AblationRow(**row) for name, row in values.pop("rows").items()}
    ablation = Ablation(rows=rows, **values)
    for name, row in rows.items():
        for other in (ablation.baseline, row.before):
            if other is not None and other not in rows:
                raise ValueError(f"{path}: row {name} is compared with row {other!r}, which the table does not have.")
    return ablation


def load_setting(path: str | Path) -> Setting:
    """Read a setting from YAML.

    Raises:
        ValueError: If it cannot be read, has other names than `Setting`, or says what rows, seeds and the chain of runs
            say.
    """
    values = read_recipe(path)
    needed = {field.name for field in fields(Setting) if field.default_factory is MISSING}
    wrong = sorted((needed - values.keys()) | (values.keys() - {field.name for field in fields(Setting)}))
    if wrong:
        raise ValueError(
            f"{path} is no setting, for these names are missing or unknown: {', '.join(wrong)}. "
            "examples/ablations/phantom.yaml shows what one has."
        )
    setting = Setting(**values)
    for arguments in (setting.common, setting.stage_one, setting.stage_two, setting.fine_tuning):
        check_not_set_here(arguments, ("model_name_or_path", "output_dir", "resume_from_checkpoint", "seed", "teacher"))
    return setting


def chain_of(row: AblationRow, setting: Setting, seed: int) -> Chain:
    """The runs that measure a row, by kind, in order: "stage_one" and "stage_two" where it has them, "fine_tuning".

    Rows that share a stage, its arguments and all before it, get equal runs, which `Experiments` does once.

    Raises:
        TeacherMissing: If the row's teacher cannot be had.
    """
    chain: Chain = {}
    start: dict[str, RunFolder] = {}
    teacher = {} if row.teacher is None else {"teacher": _teacher(row.teacher, setting)}
    stages = {"stage_one": (setting.stage_one, row.stage_one), "stage_two": (setting.stage_two, row.stage_two)}
    for kind, (shared, changes) in stages.items():
        if changes is not None:
            arguments = {**setting.common, **shared, **changes, **teacher, "seed": seed}
            chain[kind] = Run(kind, "run_pretraining.py", _started(arguments, start))
            start = {"model_name_or_path": RunFolder(chain[kind])}
    towers: dict[str, PlainValue] = {}
    if row.start == "teacher":
        trained = _teacher("default", setting)
        if isinstance(trained, RunFolder):
            start = {"model_name_or_path": RunFolder(trained.run)}
        elif is_open_clip(trained):
            towers = {"vision_model": trained, "text_model": trained}
        else:
            raise TeacherMissing(
                f"--teacher {trained} is neither an AMiF checkpoint to start fine-tuning from nor towers"
            )
    arguments = {**setting.common, **setting.fine_tuning, **row.fine_tuning, "seed": seed, **towers}
    chain["fine_tuning"] = Run("fine_tuning", "run_vqa.py", _started(arguments, start))
    return chain


def _started(
    arguments: Mapping[str, PlainValue | RunFolder], start: Mapping[str, RunFolder]
) -> dict[str, PlainValue | RunFolder]:
    """The arguments of a run from a checkpoint, which brings its encoders; without one, the same."""
    return {name: value for name, value in arguments.items() if not start or name not in _OF_ENCODERS} | dict(start)


def _teacher(name: str, setting: Setting) -> str | RunFolder:
    name = setting.teacher if name == "default" else name
    if name in setting.teachers:
        run = Run("teacher", "run_pretraining.py", setting.common | setting.stage_one | setting.teachers[name])
        return RunFolder(run, "amif:")
    check_teacher(name)
    return name


def check_teacher(spec: str) -> None:
    """See that a teacher is on this machine; nothing is downloaded.

    Args:
        spec: As for `--teacher`.

    Raises:
        TeacherMissing: If it is not here, or is only had as columns of the data.
    """
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
) -> tuple[dict[str, dict[int, Chain]], dict[str, str]]:
    """The chain of each row and seed, and for each row that cannot be run the reason."""
    found: dict[str, dict[int, Chain]] = {}
    skipped = {}
    for name, row in ablation.rows.items():
        try:
            found[name] = {seed: chain_of(row, setting, seed) for seed in seeds}
        except TeacherMissing as error:
            skipped[name] = str(error)
    return found, skipped


def run_chains(experiments: Experiments, tables: Sequence[Mapping[str, Mapping[int, Chain]]]) -> None:
    """Do all runs of the tables, those of one seed before those of the next, so that early figures cover all rows."""
    rows = [of_seeds for table in tables for of_seeds in table.values()]
    seeds = {seed: None for of_seeds in rows for seed in of_seeds}
    check_runs([run for of_seeds in rows for run in of_seeds[min(of_seeds)].values()])
    experiments.complete([of_seeds[seed]["fine_tuning"] for seed in seeds for of_seeds in rows])
