"""MedICaT (Subramanian et al., 2020): 217,060 figures of 131,410 open-access articles, with their captions."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import DatasetDict, Value

from ..pretraining_schema import PretrainingRow, build_splits
from ..schema import as_text
from ..shown_values import shown
from .table_files import find_first, numbered_json_lines, require_folder

FIGURES = "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl"

PUBLISHED_ROWS = {"train": 217060}

EXTRA_FEATURES = {"paper_id": Value("string"), "radiology": Value("bool")}


def load_medicat(data_dir: str | os.PathLike[str] | None = None, strict: bool = False) -> DatasetDict:
    """Read a local copy, a row a figure, as the single split "train".

    The JSON Lines file of figures and `figures/<pdf_hash>_<fig_uri>` lie in the folder itself or in its `release/`.
    `text` is the caption; `study_id` is the name of the figure's file, `paper_id` the article's `pdf_hash`; `radiology`
    is the file's guess: filter by it where other medical images are not wanted.

    Raises:
        FileNotFoundError: If a file is missing, or no figure is usable.
        ValueError: If `data_dir` is None, or a file is damaged; or if `strict` and the figures are not as many as
            published, or an image is missing.
    """
    folder = require_folder(data_dir, "medicat", f"{FIGURES} and figures/")
    file = find_first(folder, (FIGURES, f"release/{FIGURES}"), "medicat")
    rows = []
    for number, row in numbered_json_lines(file):
        if not isinstance(row, dict) or not {"pdf_hash", "fig_uri"} <= row.keys():
            raise ValueError(f"{file}: line {number} is {shown(row)}: give an object with pdf_hash and fig_uri.")
        rows.append(_to_schema(row, file.parent / "figures"))
    return build_splits("medicat", {"train": rows}, PUBLISHED_ROWS, strict, EXTRA_FEATURES)


def _to_schema(row: Mapping[str, Any], figures: Path) -> PretrainingRow:
    name = f"{row['pdf_hash']}_{row['fig_uri']}"
    return {
        "images": [figures / name],
        "text": as_text(row.get("s2_caption")) or as_text(row.get("s2orc_caption")),
        "study_id": Path(name).stem,
        "paper_id": row["pdf_hash"],
        "radiology": row.get("radiology"),
    }
