"""Images inside a zip file, read where they lie: nothing is ever unpacked to disk."""

import functools
import os
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

# A member is unpacked in memory; an image of more bytes is none.
MAX_MEMBER_BYTES = 1 << 28


def list_zip(path: Path) -> frozenset[str]:
    """The names of the files in a zip, without those that macOS adds beside them.

    Raises:
        ValueError: If it is no zip, or holds a name that leads outside (`../x`, an absolute path): such a zip was not
            made by an honest tool, and nothing of it is used.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{path} is not a zip file that can be read ({error}): give a complete one.") from None
    outside = [name for name in names if leads_outside(name)]
    if outside:
        raise ValueError(
            f"{path} holds {outside[0]!r}, a path outside of itself ({len(outside)} such): it is refused. Pack the "
            "images again, with relative paths."
        )
    return frozenset(name for name in names if not name.endswith("/") and not name.startswith("__MACOSX"))


def leads_outside(name: str) -> bool:
    """Whether a name is absolute or climbs with `..`, by the rules of any operating system."""
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or name[1:2] == ":"


def zipped_path(archive: Path, names: Collection[str], name: str) -> str:
    """`name` in the zip, which holds `names`, as the path of an image cell, in the form that datasets opens too.

    Raises:
        ValueError: If `name` leads outside of the zip.
        FileNotFoundError: If the zip does not hold it.
    """
    if leads_outside(name):
        raise ValueError(f"the image {name!r} lies outside of {archive}: name files of the zip by their path in it.")
    member = str(PurePosixPath(name))
    if member not in names:
        example = min(names, default="nothing")
        raise FileNotFoundError(f"the image {name!r} is not in {archive}, which holds {example} and others.")
    return f"zip://{member}::{archive.absolute()}"


def is_zipped(path: str | None) -> bool:
    """Whether the path of an image cell names a file in a zip."""
    return path is not None and path.startswith("zip://")


def image_file_state(path: str) -> str:
    """The path of an image cell with size and time of change of the file on disk, for a zip's image those of the zip.

    Two states are equal only where nothing has been written in between, without an image being read.

    Raises:
        FileNotFoundError: If it is not there.
    """
    try:
        status = os.stat(path.rsplit("::", 1)[1] if is_zipped(path) else path)
    except OSError as error:
        message = f"the image {path} cannot be found ({error.strerror}): put it back, or leave its rows out."
        raise FileNotFoundError(message) from None
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def read_zipped(path: str) -> bytes:
    """The bytes of `zip://<name>::<zip>`.

    Raises:
        ValueError: If the file is larger than an image can be.
    """
    member, archive = path.removeprefix("zip://").rsplit("::", 1)
    opened = _open_zip(archive, os.getpid())
    if opened.getinfo(member).file_size > MAX_MEMBER_BYTES:
        raise ValueError(f"{path} unpacks to more than {MAX_MEMBER_BYTES} bytes")
    return opened.read(member)


@functools.lru_cache(maxsize=4)
def _open_zip(path: str, process: int) -> zipfile.ZipFile:
    # One a process: a data loader's workers are forked, and a shared file has one position.
    return zipfile.ZipFile(path)
