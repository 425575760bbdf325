"""What a run's checkpoints hold: their files and hashes, which are whole, which is the newest, which are deleted."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import CONFIG_NAME, PROCESSOR_NAME, logging

logger = logging.get_logger(__name__)

CHECKPOINT_FILES_NAME = "checkpoint_files.json"


@dataclass(frozen=True)
class FileList:
    """The files of a checkpoint, by their paths within it.

    Attributes:
        order: Counts the checkpoints that were closed in the run's folder. A clock that was set back, or copied files,
            change no order.
        bytes: Their lengths.
        sha256: Their hashes.
    """

    order: int
    bytes: dict[str, int]
    sha256: dict[str, str]

    @property
    def seal(self) -> str:
        """A hash of the list itself."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def open_checkpoint(folder: Path) -> None:
    """Let an earlier checkpoint of this name not pass for complete while it is written over."""
    (folder / CHECKPOINT_FILES_NAME).unlink(missing_ok=True)


def close_checkpoint(folder: Path) -> None:
    """Write down which files a checkpoint holds, with their hashes; only with this list is it complete."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CHECKPOINT_FILES_NAME]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    files = FileList(
        order=1 + max([0, *map(_order, _checkpoint_folders(folder.parent))]),
        bytes={name: path.stat().st_size for name, path in names.items()},
        sha256={name: _hash_of(path) for name, path in names.items()},
    )
    unfinished = folder / f"{CHECKPOINT_FILES_NAME}.unfinished"
    unfinished.write_text(json.dumps(asdict(files) | {"seal": files.seal}, indent=2), encoding="utf-8")
    os.replace(unfinished, folder / CHECKPOINT_FILES_NAME)


def is_closed(folder: Path) -> bool:
    """Whether a checkpoint was written to its end; `what_is_missing` says whether it has stayed as it was."""
    return (folder / CHECKPOINT_FILES_NAME).is_file() and (folder / TRAINER_STATE_NAME).is_file()


def what_is_missing(folder: str | Path) -> str | None:
    """What keeps a checkpoint from being resumed, such as "model.safetensors is cut off"; None where it is complete.

    Its files are read to the end and their hashes compared.
    """
    folder = Path(folder)
    for name in (CHECKPOINT_FILES_NAME, TRAINER_STATE_NAME):
        if not (folder / name).is_file():
            return f"{name} is missing"
    try:
        files = _read_list(folder)
    except ValueError:
        return f"{CHECKPOINT_FILES_NAME} is damaged"
    for what, part in (("optimizer", "optim"), ("random", "rng_state")):
        if not any(part in name for name in files.bytes):
            return f"it was saved without its {what} states"
    for name in files.bytes:
        # An evaluation may have set the threshold of abstention there, and training reads nothing of it.
        if name == PROCESSOR_NAME:
            continue
        if (fault := what_is_wrong_with(folder / name, files, name)) is not None:
            return fault
    try:
        whole = TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME)).global_step > 0
    except (TypeError, ValueError):
        whole = False
    return None if whole else f"{TRAINER_STATE_NAME} is damaged"


def what_is_wrong_with(path: Path, files: FileList, name: str) -> str | None:
    """What tells a file from the one that was written down as `name`; None where nothing does."""
    if not path.is_file():
        return f"{name} is missing"
    if (size := path.stat().st_size) != files.bytes[name]:
        return f"{name} is cut off or damaged: {size} bytes instead of {files.bytes[name]}"
    if _hash_of(path) != files.sha256[name]:
        return f"{name} is damaged: its bytes are not those that were saved"
    return None


def check_saved_weights(folder: Path) -> None:
    """Make sure that a run's checkpoint has the weights and configuration that it was saved with.

    Other folders have no list to compare with.

    Raises:
        ValueError: If they are not.
    """
    if not (folder / CHECKPOINT_FILES_NAME).is_file():
        return
    try:
        files = _read_list(folder)
    except ValueError as error:
        raise ValueError(f"{error}: copy the checkpoint again, or choose another.") from error
    for name in files.bytes:
        is_read = name.endswith(".safetensors") or name == CONFIG_NAME
        if is_read and (fault := what_is_wrong_with(folder / name, files, name)) is not None:
            raise ValueError(f"{folder}: {fault}. Copy the checkpoint again, or choose another.")


def newest_complete_checkpoint(output_dir: str | Path) -> Path | None:
    """The checkpoint of a run that was completed last; newer ones that are not complete are named in warnings."""
    # From the newest on and no further than needed, because their files are read; those of unknown age are named first.
    for folder in sorted(reversed(checkpoints_by_age(output_dir)), key=lambda folder: _order(folder) >= 0):
        missing = what_is_missing(folder)
        if missing is None:
            return folder
        logger.warning(f"{folder} is incomplete ({missing}): passed over.")
    return None


def checkpoints_by_age(output_dir: str | Path) -> list[Path]:
    """Those of a run, the oldest first, by the order in which they were closed; before them those without one.

    The order is not that of their steps: a folder may still hold checkpoints of a longer, earlier run.
    """

    def age(folder: Path) -> tuple[int, int]:
        """A key: the place among those of its run, or -1, and of equal places the time of change in nanoseconds."""
        order = _order(folder)
        return order, 0 if order < 0 else (folder / TRAINER_STATE_NAME).stat().st_mtime_ns

    return sorted(_checkpoint_folders(output_dir), key=age)


def delete_older_checkpoints(output_dir: str | Path, kept: int | None, best: str | None) -> None:
    """Delete a run's oldest checkpoints, as the Trainer does, which goes by the clock.

    Args:
        output_dir: The folder of the run.
        kept: How many stay, the newest and the best one always; None or 0 keeps all.
        best: The best one's folder, if any.
    """
    folders = checkpoints_by_age(output_dir)
    stays = {folders[-1].resolve(), *([] if best is None else [Path(best).resolve()])} if folders else set()
    spare = len(folders) - max(kept, len(stays)) if kept else 0
    for folder in [folder for folder in folders if folder.resolve() not in stays][: max(0, spare)]:
        # Without its list it is no checkpoint any more, should this be the moment in which the process is killed.
        open_checkpoint(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _read_list(folder: Path) -> FileList:
    """Raises: ValueError: If the list is damaged."""
    path = folder / CHECKPOINT_FILES_NAME
    damaged = ValueError(f"{path} is damaged")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise damaged from None
    if not isinstance(content, dict):
        raise damaged
    seal = content.pop("seal", None)
    if content.keys() != FileList.__annotations__.keys() or FileList(**content).seal != seal:
        raise damaged
    return FileList(**content)


def _order(folder: Path) -> int:
    """The checkpoint's place among those of its run; -1 where it was never closed or its list is damaged."""
    try:
        return _read_list(folder).order if is_closed(folder) else -1
    except ValueError:
        return -1


def _checkpoint_folders(output_dir: str | Path) -> list[Path]:
    folders = [path for path in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
    numbered = [path for path in folders if path.name.rpartition("-")[2].isdigit()]
    return sorted(numbered, key=lambda path: int(path.name.rpartition("-")[2]))


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
