"""NIfTI files of small volumes, in any order of their axes, with a name in the header that nothing may repeat."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

PATIENT = "Doe^Jane 19610203"


def write_nifti(
    path: Path,
    values: np.ndarray,
    spacing: Sequence[float] = (1, 1, 1),
    axes: Sequence[int] = (0, 1, 2),
    flips: Sequence[int] = (1, 1, 1),
    **fields: Any,
) -> Path:
    """Write values (right, front, head), an axis towards each, and that many mm a voxel.

    Args:
        path: Where to write; `.nii.gz` is compressed.
        values: Three axes, or fewer.
        spacing: Towards the right, the front and the head.
        axes: Which of these the file's axes are.
        flips: -1 for those of the file's axes that lead the other way.
        **fields: Of the header.
    """
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for place, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[axis, place] = flip * spacing[axis]
    stored = values.transpose(axes) if values.ndim == 3 else values
    for place, flip in enumerate(flips):
        stored = stored if flip == 1 else np.flip(stored, place)
    image = nibabel.Nifti1Image(stored, affine, dtype=stored.dtype)
    image.header["descrip"] = image.header["db_name"] = PATIENT[:18]
    for name, value in fields.items():
        image.header[name] = value
    content = image.to_bytes()
    if "scl_slope" in fields:  # nibabel chooses these itself when it writes
        header = nibabel.Nifti1Header(content[:348])
        header["scl_slope"], header["scl_inter"] = fields["scl_slope"], fields.get("scl_inter", 0)
        content = header.binaryblock + content[348:]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
