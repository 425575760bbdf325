"""ROCOv2 (Rückert et al., 2024): 79,789 radiology images of open-access articles, with captions and UMLS concepts."""

import os
from pathlib import Path

from datasets import DatasetDict, List, Value

from ..pretraining_schema import PretrainingRow, build_splits
from .own_pairs import load_mirror
from .table_files import find_first, read_published_csv, require_folder

# What the files call the splits.
SPLITS = {"train": "train", "validation": "valid", "test": "test"}

PUBLISHED_ROWS = {"train": 59958, "validation": 9904, "test": 9927}

MIRROR_ROWS = {"eltorio/ROCOv2-radiology": {"train": 59962, "validation": 9904, "test": 9927}}

EXTRA_FEATURES = {"concepts": List(Value("string"))}


def load_rocov2(data_dir: str | os.PathLike[str] | None = None, strict: bool = False) -> DatasetDict:
    """Read a local copy, a row an image, in either form that circulates.

    - The release: `train_captions.csv` (ID, Caption), `train_concepts.csv` (ID, CUIs separated by ";") and the images
      in `train_images/` or `train/`, and likewise for "valid" and "test".
    - The Hub mirror `eltorio/ROCOv2-radiology`, by this id or as a folder of Parquet files.

    `study_id` is the image's id; `concepts` are the UMLS concept identifiers.

    Raises:
        FileNotFoundError: If a file is missing, or no image is usable.
        ValueError: If `data_dir` is None, or a file is damaged; or if `strict` and the captions are not as many as
            published, or an image is missing.
    """
    if (mirror := load_mirror("rocov2", data_dir, MIRROR_ROWS, strict)) is not None:
        return mirror.rename_column("cui", "concepts")
    folder = require_folder(data_dir, "rocov2", "train_captions.csv, train_concepts.csv, train_images/ and so on")
    listed = {split: _read_split(folder, name) for split, name in SPLITS.items()}
    return build_splits("rocov2", listed, PUBLISHED_ROWS, strict, EXTRA_FEATURES)


def _read_split(folder: Path, name: str) -> list[PretrainingRow]:
    captions = read_published_csv(find_first(folder, (f"{name}_captions.csv",), "rocov2"), ("ID", "Caption"))
    concept_rows = read_published_csv(find_first(folder, (f"{name}_concepts.csv",), "rocov2"), ("ID", "CUIs"))
    concepts = {row["ID"]: row["CUIs"] for row in concept_rows}
    images = find_first(folder, (f"{name}_images", name), "rocov2")
    return [
        {
            "images": [images / f"{row['ID']}.jpg"],
            "text": row["Caption"],
            "study_id": row["ID"],
            "concepts": [concept for concept in concepts.get(row["ID"], "").split(";") if concept],
        }
        for row in captions
    ]
