"""Where the images lie that a table names: beside it, in a folder, in a zip, or as base64 in its cells."""

import base64
import os
import posixpath
from collections.abc import Callable
from pathlib import Path

from ..images import ImageCell
from ..pretraining_schema import begins_like_an_image
from ..shown_values import shown
from ..zipped_images import leads_outside, list_zip, zipped_path

# No file system takes a longer path.
_LONGEST_PATH = 4096


def image_in_base64(text: str) -> ImageCell | None:
    """The image that a text holds in base64, with or without `data:image/png;base64,` before it; None if it is a path.

    Raises:
        ValueError: If it is neither, as what was cut off in a spreadsheet.
    """
    is_uri = text.startswith("data:")
    try:
        content = base64.b64decode(text.partition(",")[2] if is_uri else text, validate=True)
    except ValueError:
        content = b""
    if content and begins_like_an_image(content):
        return {"bytes": content, "path": None}
    if is_uri or len(text) > _LONGEST_PATH:
        raise ValueError(f"the image {shown(text)} is neither a path nor a whole image in base64: write it again.")
    return None


def image_finder(folder: Path, image_dir: str | os.PathLike[str] | None) -> Callable[[str], tuple[str, str]]:
    """A function from an image's name in a table to the path of an image cell and the name's plain form.

    A zip whose files all lie in one folder of it may be named with that folder or without it.

    Args:
        folder: The table's folder, whose `images.zip` holds what does not lie in it.
        image_dir: Folder or zip to look in alone; None for the table's folder.

    Raises:
        FileNotFoundError: If `image_dir` is not there.
        ValueError: If the zip is damaged, or holds a path outside of itself.
    """
    place = Path(image_dir) if image_dir is not None else folder
    if image_dir is not None and not place.exists():
        raise FileNotFoundError(f"image_dir {place} does not exist: give the folder or the zip of the images.")

    def on_disk(name: str) -> tuple[str, str]:
        """The path in the folder, whether or not a file is there, and the plain name."""
        plain = _plain_name(name, place)
        return str(place / plain), plain

    archive = place if place.is_file() else folder / "images.zip"
    if place.is_dir() and (image_dir is not None or not archive.is_file()):
        return on_disk
    names = list_zip(archive)
    folders = [posixpath.dirname(name) for name in names if not posixpath.basename(name).startswith(".")]
    common = posixpath.commonpath(folders) if folders else ""

    def find(name: str) -> tuple[str, str]:
        """The path on disk if the file is there, else in the zip, also without the folder that all of it lies in."""
        path, plain = on_disk(name)
        if place.is_dir() and os.path.isfile(path):
            return path, plain
        inside = name if leads_outside(name) or name in names else posixpath.normpath(name.replace("\\", "/"))
        if inside not in names and posixpath.join(common, inside) in names:
            inside = posixpath.join(common, inside)
        return zipped_path(archive, names, inside), inside

    return find


def _plain_name(name: str, place: Path) -> str:
    """`name` without `./`, `//` and `a/..`, and with slashes where backslashes name no file: one name for one file."""
    plain = posixpath.normpath(name)
    if "\\" in plain and not os.path.exists(place / plain):
        plain = posixpath.normpath(plain.replace("\\", "/"))
    # `a/../b` is another file than `b` where `a` is a link.
    if plain != name and os.path.exists(place / name) and os.path.exists(place / plain):
        return plain if os.path.samefile(place / name, place / plain) else name
    return plain
