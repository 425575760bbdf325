"""ROCO (Pelka et al., 2018): 81,825 radiology images of open-access articles, with their captions."""

import os
from pathlib import Path

from datasets import DatasetDict, Value

from ..pretraining_schema import PretrainingRow, build_splits
from .csv_files import read_text
from .own_pairs import load_mirror
from .table_files import find_first, read_published_csv, require_folder

PUBLISHED_ROWS = {"train": 65460, "validation": 8183, "test": 8182}

MIRROR_ROWS = {
    "mdwiratathya/ROCO-radiology": {"train": 65419, "validation": 8175, "test": 8176},
    "eltorio/ROCO-radiology": {"train": 65423, "validation": 8175, "test": 8176},
}

EXTRA_FEATURES = {"file_name": Value("string")}


def load_roco(data_dir: str | os.PathLike[str] | None = None, strict: bool = False) -> DatasetDict:
    """Read the radiology images, a row an image; compound and other images are left aside.

    - The release: `train/radiology/`, `validation/radiology/` and `test/radiology/`, in the folder itself or in its
      `data/` or `all_data/`, hold `images/` and `captions.txt` (ROCO_00001, a tab, the caption; images/ROCO_00001.jpg),
      as the authors' download script leaves them, or `traindata.csv`, `valdata.csv` and `testdata.csv` (id, name,
      caption; images/<name>). `study_id` is ROCO's id.
    - The Hub mirrors `mdwiratathya/ROCO-radiology` and `eltorio/ROCO-radiology`, by their ids or as a folder of Parquet
      files. `study_id` is their image_id.

    Raises:
        FileNotFoundError: If a split or its captions are missing, or no image is usable.
        ValueError: If `data_dir` is None, or a file is damaged; or if `strict` and the captions are not as many as
            published, or an image is missing.
    """
    if (mirror := load_mirror("roco", data_dir, MIRROR_ROWS, strict)) is not None:
        return mirror
    contents = "train/radiology/, validation/radiology/ and test/radiology/"
    folder = require_folder(data_dir, "roco", contents)
    root = find_first(folder, ("train", "data/train", "all_data/train"), "roco").parent
    listed = {split: _read_captions(find_first(root, (f"{split}/radiology",), "roco")) for split in PUBLISHED_ROWS}
    return build_splits("roco", listed, PUBLISHED_ROWS, strict, EXTRA_FEATURES)


def _read_captions(folder: Path) -> list[PretrainingRow]:
    file = find_first(folder, ("captions.txt", "traindata.csv", "valdata.csv", "testdata.csv"), "roco")
    if file.suffix == ".csv":
        rows = read_published_csv(file, ("id", "name", "caption"))
        captions = [(row["id"], row["name"], row["caption"]) for row in rows]
    else:
        # Not splitlines(), which also breaks lines at the exotic separators that captions contain.
        lines = [line.partition("\t") for line in read_text(file).split("\n") if line.strip()]
        captions = [(name.strip(), f"{name.strip()}.jpg", caption.strip()) for name, _, caption in lines]
    return [
        {"images": [folder / "images" / name], "text": caption, "study_id": study_id, "file_name": name}
        for study_id, name, caption in captions
    ]
