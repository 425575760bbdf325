"""One door to every set of image-report pairs."""

import os
from typing import Any

from datasets import DatasetDict

from .phantom import load_phantom_pretraining


def load_pretraining_dataset(
    name_or_path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    **column_names: Any,
) -> DatasetDict:
    """Load image-report pairs in the common schema, a row a study: images (one or more views), text, study_id.

    Args:
        name_or_path: "phantom" (generated).
        data_dir: the local copy, for the readers that need one.
        strict: raise where the rows are not as many as published; otherwise the difference is logged.
        **column_names: what the reader takes: phantom's `num_studies`, `image_size` and `seed`.

    Returns:
        Splits "train", "validation" and "test", as far as the source has them.

    Raises:
        ValueError: for an unknown name.
    """
    name = str(name_or_path)
    if name == "phantom":
        return load_phantom_pretraining(**column_names)
    raise ValueError(f"No image-report pairs {name!r}. Known by name: phantom.")
