"""A run's checkpoints on disk: which are complete, which can be gone on from, and whether a folder holds a model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from safetensors import SafetensorError
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

logger = logging.get_logger(__name__)

CHECKPOINT_FILES_NAME = "checkpoint_files.json"


def list_checkpoint_files(folder: str | Path) -> None:
    """Write down which files a checkpoint holds and how long they are, for `what_is_missing`.

    The Trainer's state is written after this list, and so closes the checkpoint.
    """
    folder = Path(folder)
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (CHECKPOINT_FILES_NAME, TRAINER_STATE_NAME)
    }
    (folder / CHECKPOINT_FILES_NAME).write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")


def what_is_missing(folder: str | Path) -> str | None:
    """What keeps a checkpoint from being resumed, such as "model.safetensors is cut off"; None where it is complete."""
    folder = Path(folder)
    for name in (CHECKPOINT_FILES_NAME, TRAINER_STATE_NAME):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return f"{name} is missing"
        except ValueError:
            return f"{name} is cut off"
        if name == CHECKPOINT_FILES_NAME:
            sizes = content
    for name, size in sizes.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if (folder / name).stat().st_size != size:
            return f"{name} is cut off or damaged: {(folder / name).stat().st_size} bytes instead of {size}"
    return None


def newest_complete_checkpoint(output_dir: str | Path) -> Path | None:
    """The checkpoint of a run that was completed last; those that are not complete are named in warnings."""
    complete = []
    for folder in _checkpoint_folders(output_dir):
        missing = what_is_missing(folder)
        if missing is None:
            complete.append(folder)
        else:
            logger.warning(f"{folder} is incomplete ({missing}): passed over.")
    # By time and not by step: the folder may still hold checkpoints of a longer, earlier run.
    return max(complete, key=lambda folder: (folder / TRAINER_STATE_NAME).stat().st_mtime_ns, default=None)


@contextmanager
def explain_failed_saving(folder: str | Path, output_dir: str | Path) -> Iterator[None]:
    """Turn an error while `folder` is written into one that says what is kept and how to go on.

    Raises:
        OSError: in place of the error of torch, safetensors or the system, which is its cause.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        whole = [path.name for path in _checkpoint_folders(output_dir) if what_is_missing(path) is None]
        kept = f"Kept: {', '.join(whole)}" if whole else "No complete checkpoint is kept"
        raise OSError(
            f"Saving {folder} failed: {error}. {kept}. Make room, or choose another --output_dir, and start the same "
            "command with --resume_from_checkpoint true."
        ) from error


def check_output_folder(folder: str | Path) -> None:
    """Make an output folder and prove that files can be written there, before hours are spent on them.

    Raises:
        OSError: naming the folder, the system's reason and the cure.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as probe:
            probe.write(b"amif")
    except OSError as error:
        raise OSError(
            f"Nothing can be written to the output folder {folder}: {error.strerror}. Choose another --output_dir, or "
            "see to its permissions and free space."
        ) from error


def _checkpoint_folders(output_dir: str | Path) -> list[Path]:
    folders = [path for path in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
    numbered = [path for path in folders if path.name.rpartition("-")[2].isdigit()]
    return sorted(numbered, key=lambda path: int(path.name.rpartition("-")[2]))
