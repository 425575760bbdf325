"""The images that lie in a folder."""

import os
from pathlib import Path

from PIL import Image

from ...processing_amif.images_amif import IMAGE_FORMATS, reader_of

# The index that a disc of DICOM files has beside them.
_INDEX = "DICOMDIR"


def find_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """All images in a folder and those below it, and the files that are none; each in the order of the paths.

    An image is what its suffix or, of DICOM and NIfTI, its first bytes say it is. What cannot be opened is among them,
    so that whoever reads it says so. Hidden files, hidden folders and DICOMDIR are left out.

    Raises:
        OSError: If a folder cannot be listed.
    """
    suffixes = {suffix for suffix, format in Image.registered_extensions().items() if format in IMAGE_FORMATS}
    images, others = [], []
    for place, folders, names in os.walk(folder, onerror=_stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in (Path(place) / name for name in names if not name.startswith(".") and name != _INDEX):
            named = file.suffix.lower() in suffixes
            (images if named or reader_of(file) or not os.access(file, os.R_OK) else others).append(file)
    return sorted(images), sorted(others)


def _stop(error: OSError) -> None:
    # Without it a folder that cannot be listed would be passed over in silence.
    raise error
