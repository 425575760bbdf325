"""IU X-Ray (Demner-Fushman et al., 2016): 7,470 chest radiographs of 3,955 studies, with de-identified reports."""

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

from datasets import DatasetDict, List, Value
from transformers.utils import logging

from ..pretraining_schema import PretrainingRow, build_splits
from ..schema import as_cell, as_image_name
from ..shown_values import shown
from .table_files import SPLIT_NAMES, find_first, read_json_content, read_published_csv, require_folder

# What each form holds first, in the order in which they are looked for.
REPORTS = ("annotation.json", "indiana_reports.csv", "ecgen-radiology", "NLMCXR_reports/ecgen-radiology")

# The three forms hold different parts: studies of two images with findings, studies with images, and all reports.
PUBLISHED_ROWS = {
    "annotation.json": {"train": 2069, "validation": 296, "test": 590},
    "indiana_reports.csv": {"train": 3851},
    "ecgen-radiology": {"train": 3955},
}

EXTRA_FEATURES = {"view_positions": List(Value("string"))}

_IMAGES = ("images/images_normalized", "images", "NLMCXR_png", "images/NLMCXR_png")

logger = logging.get_logger(__name__)


def load_iu_xray(data_dir: str | os.PathLike[str] | None = None, strict: bool = False) -> DatasetDict:
    """Read a local copy, a row a study, in any form that circulates; the first of these that is there is read.

    - `annotation.json`, a dictionary of the splits train, val and test, and `images/`, as R2Gen and its followers use
      them; `text` is its report.
    - `indiana_reports.csv`, `indiana_projections.csv` and `images/images_normalized/` or `images/`, as on Kaggle.
      `view_positions` are its projections ("Frontal", "Lateral").
    - Open-i's release: `ecgen-radiology/*.xml` of NLMCXR_reports.tgz, and the PNG images of NLMCXR_png.tgz in
      `NLMCXR_png/`, `images/` or the folder itself.

    `text` of the last two, which have the single split "train", is findings and impression.

    Raises:
        FileNotFoundError: If none of them is there, or no study is usable.
        ValueError: If `data_dir` is None, if a file is damaged or lacks what its form has, or if `strict` and the
            studies are not as many as published or an image is missing.
    """
    folder = require_folder(data_dir, "iu_xray", f"{', '.join(REPORTS[:2])} or {REPORTS[2]}/, and the images")
    found = find_first(folder, REPORTS, "iu_xray")
    if others := [name for name in REPORTS if (folder / name).exists() and (folder / name) != found]:
        logger.warning(f"iu_xray: {found} is read, and {', '.join(others)} beside it is not.")
    read = {".json": _read_annotation, ".csv": _read_tables}.get(found.suffix, _read_xml)
    listed = read(found)
    rows = list(chain.from_iterable(listed.values()))
    # Some may be missing.
    names = [name for row in rows[:50] for name in row["images"]]
    places = [folder / place for place in _IMAGES if any((folder / place / name).is_file() for name in names)]
    for row in rows:
        row["images"] = [(places or [folder])[0] / name for name in row["images"]]
    return build_splits("iu_xray", listed, PUBLISHED_ROWS[found.name], strict, EXTRA_FEATURES)


def _read_annotation(file: Path) -> dict[str, list[PretrainingRow]]:
    splits = read_json_content(file)
    if not isinstance(splits, dict) or not splits.keys() <= SPLIT_NAMES.keys():
        raise ValueError(f"{file} is no dictionary of the splits train, val and test: {shown(splits)}.")
    listed: dict[str, list[PretrainingRow]] = {SPLIT_NAMES[name]: [] for name in splits}
    for name, rows in splits.items():
        for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
            place = f"{file}: {name}, row {number} (counted from 0)"
            if not isinstance(row, dict) or not {"id", "report", "image_path"} <= row.keys():
                raise ValueError(f"{place} is {shown(row)}: give an object with id, report and image_path.")
            paths = row["image_path"] if isinstance(row["image_path"], list) else [row["image_path"]]
            try:
                listed[SPLIT_NAMES[name]].append(
                    {
                        "images": [Path(as_image_name(path)) for path in paths],
                        "text": as_cell(row["report"]),
                        "study_id": as_cell(row["id"]) or f"{name}_{number}",
                    }
                )
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
    return listed


def _read_tables(file: Path) -> dict[str, list[PretrainingRow]]:
    projections = find_first(file.parent, ("indiana_projections.csv",), "iu_xray")
    shots: dict[str, list[dict[str, str]]] = {}
    for row in read_published_csv(projections, ("uid", "filename", "projection")):
        shots.setdefault(row["uid"], []).append(row)
    return {
        "train": [
            {
                "images": [Path(shot["filename"]) for shot in shots.get(row["uid"], [])],
                "view_positions": [as_cell(shot["projection"]) for shot in shots.get(row["uid"], [])],
                "text": _joined(row),
                "study_id": row["uid"],
            }
            for row in read_published_csv(file, ("uid", "findings", "impression"))
        ]
    }


def _read_xml(folder: Path) -> dict[str, list[PretrainingRow]]:
    rows: list[PretrainingRow] = []
    for file in sorted(folder.glob("*.xml")):
        try:
            root = ElementTree.parse(file).getroot()
        except ElementTree.ParseError as error:
            raise ValueError(f"{file} cannot be read as XML ({error}): give a complete file.") from None
        sections = {part.get("Label", "").lower(): "".join(part.itertext()) for part in root.iter("AbstractText")}
        images = [Path(f"{image.get('id')}.png") for image in root.iter("parentImage")]
        number = root.find("uId")
        study_id = file.stem if number is None else number.get("id", file.stem)
        rows.append({"images": images, "text": _joined(sections), "study_id": study_id})
    return {"train": rows}


def _joined(sections: Mapping[str, str]) -> str | None:
    """Findings and impression on one line."""
    return as_cell(" ".join(f"{sections.get('findings', '')} {sections.get('impression', '')}".split()))
