"""MIMIC-CXR-JPG (Johnson et al., 2019): 377,110 chest radiographs of 227,835 studies, with free-text reports."""

import os
import zipfile
from collections.abc import Collection
from itertools import chain
from pathlib import Path

from datasets import DatasetDict, List, Value
from transformers.utils import logging

from ..pretraining_schema import PretrainingRow, build_splits
from ..schema import as_text
from ..shown_values import shown
from .csv_files import read_text
from .mimic_cxr_sections import findings_and_impression, unnamed_findings
from .table_files import find_first, read_published_csv, require_folder

CONTENTS = "files/, mimic-cxr-2.0.0-split.csv(.gz), mimic-cxr-2.0.0-metadata.csv(.gz) and the reports"

SPLITS = {"train": "train", "validate": "validation", "test": "test"}

PUBLISHED_ROWS = {"train": 222758, "validation": 1808, "test": 3269}

REPORT_PLACES = (".", "reports", "mimic-cxr-reports", "mimic-cxr-reports.zip")

EXTRA_FEATURES = {"view_positions": List(Value("string")), "subject_id": Value("string")}

logger = logging.get_logger(__name__)


def load_mimic_cxr(
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    reports_dir: str | os.PathLike[str] | None = None,
) -> DatasetDict:
    """Read a local copy in the official folders, a row a study.

    Images lie at `files/p10/p10000032/s50414267/<dicom_id>.jpg`. Reports, which come with MIMIC-CXR and not with the
    JPG release, lie at `files/p10/p10000032/s50414267.txt` in the same folder, in `reports/`, in `mimic-cxr-reports/`
    or in the official `mimic-cxr-reports.zip`, or below `reports_dir`. `text` is the report's findings and impression;
    of a report without such headings it is `unnamed_findings`, and a study whose report has nothing of it is left out.
    `images` are all of the study's, in the order of the split file; `view_positions` has the metadata's ViewPosition
    for each ("PA", "AP", "LATERAL", "LL", ... or None); `subject_id` is the patient's. Splits are the split file's, by
    patient.

    Raises:
        FileNotFoundError: If a table or the reports are missing, no study is usable, or the images are those of the
            DICOM release.
        ValueError: If `data_dir` is None, or a file is damaged; or if `strict` and the studies are not as many as
            published, or an image is missing.
    """
    folder = require_folder(data_dir, "mimic_cxr", CONTENTS)
    listed = _list_studies(folder)
    metadata = _read_table(folder, "metadata", ("dicom_id", "ViewPosition"))
    positions = {row["dicom_id"]: as_text(row["ViewPosition"]) for row in metadata}
    reports = _find_reports(folder, reports_dir)
    unnamed = 0
    for study in chain.from_iterable(listed.values()):
        study["view_positions"] = [positions.get(image.stem) for image in study["images"]]
        name = study["images"][0].parent.relative_to(folder).as_posix() + ".txt"
        report = next((place / name for place in reports if (place / name).is_file()), None)
        if report is not None:
            written = read_text(report).replace("\r\n", "\n")
            study["text"] = findings_and_impression(written)
            if study["text"] is None:
                study["text"] = unnamed_findings(written)
                unnamed += study["text"] is not None
    if unnamed:
        logger.warning(
            f"mimic_cxr: {unnamed} reports have neither FINDINGS nor IMPRESSION; their last paragraph, or the section "
            "that the data set's maintainers take, is their text."
        )
    return build_splits("mimic_cxr", listed, PUBLISHED_ROWS, strict, EXTRA_FEATURES)


def _list_studies(folder: Path) -> dict[str, list[PretrainingRow]]:
    first = next(folder.glob("files/p*/p*/s*/"), None)
    suffixes = set() if first is None else {file.suffix for file in first.iterdir()}
    if ".dcm" in suffixes and ".jpg" not in suffixes:
        raise FileNotFoundError(
            f"mimic_cxr: {first} holds DICOM files, as MIMIC-CXR's own release does, and images are read from "
            "MIMIC-CXR-JPG: put its files/ and its tables there, or save each <dicom_id>.dcm as <dicom_id>.jpg "
            "beside it with amif.processing_amif.read_dicom."
        )
    studies: dict[str, dict[str, PretrainingRow]] = {split: {} for split in SPLITS.values()}
    for row in _read_table(folder, "split", ("dicom_id", "study_id", "subject_id", "split")):
        if row["split"] not in SPLITS:
            raise ValueError(
                f"mimic_cxr: the split file calls the split of image {row['dicom_id']} {shown(row['split'])}, which is "
                f"none of {', '.join(SPLITS)}: give the release's own file."
            )
        subject, study_id = row["subject_id"], row["study_id"]
        new: PretrainingRow = {"images": [], "text": None, "study_id": study_id, "subject_id": subject}
        study = studies[SPLITS[row["split"]]].setdefault(study_id, new)
        place = folder / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study_id}"
        study["images"].append(place / f"{row['dicom_id']}.jpg")
    return {split: list(rows.values()) for split, rows in studies.items()}


def _read_table(folder: Path, name: str, columns: Collection[str]) -> list[dict[str, str]]:
    file = find_first(folder, [f"mimic-cxr-2.0.0-{name}.csv.gz", f"mimic-cxr-2.0.0-{name}.csv"], "mimic_cxr")
    return read_published_csv(file, columns)


def _find_reports(folder: Path, reports_dir: str | os.PathLike[str] | None) -> list[Path | zipfile.Path]:
    places = [folder / place for place in REPORT_PLACES] if reports_dir is None else [Path(reports_dir)]
    found = [zipfile.Path(place) if place.suffix == ".zip" else place for place in places if place.exists()]
    reports = [place for place in found if (place / "files").is_dir()]
    if not reports:
        raise FileNotFoundError(
            f"mimic_cxr: no reports in {' or '.join(map(str, places))}. They come with MIMIC-CXR: put "
            "mimic-cxr-reports.zip there, or give reports_dir, a folder with files/p10/..."
        )
    return reports
