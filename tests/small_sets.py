"""Small folders in the layouts that the published data sets have, which the tests of readers and of recipes share."""

import csv
import gzip
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image as Images

from amif.training.data.readers import medicat, vqa_med_2019, vqa_med_2020

# Of the release of PathVQA.
PATH_VQA_SPLITS = ("train", "val", "test")

VQA_MED_CATEGORIES = ["C1_Modality", "C2_Plane", "C3_Organ", "C4_Abnormality"]

Row = Mapping[str, object]


def mimic_cxr_place(subject: str, study: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}"


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_mimic_cxr(folder: Path, images: Sequence[tuple[str, str, str, str, str]], reports: Mapping[str, str]) -> Path:
    """Images as (dicom, subject, study, split, view position), reports by study."""
    for place, (dicom, subject, study, *_) in enumerate(images):
        image = folder / mimic_cxr_place(subject, study) / f"{dicom}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        Images.new("L", (8, 8), 10 * place % 256).save(image)
        if study in reports:
            (folder / f"{mimic_cxr_place(subject, study)}.txt").write_text(reports[study])
    rows = [(dicom, study, subject, split) for dicom, subject, study, split, _ in images]
    write_table(folder / "mimic-cxr-2.0.0-split.csv.gz", ["dicom_id", "study_id", "subject_id", "split"], rows)
    rows = [(dicom, subject, study, position) for dicom, subject, study, _, position in images]
    header = ["dicom_id", "subject_id", "study_id", "ViewPosition"]
    write_table(folder / "mimic-cxr-2.0.0-metadata.csv", header, rows)
    return folder


def write_roco(folder: Path, captions: Mapping[str, Sequence[tuple[str, str]]]) -> Path:
    """Captions as (number, text) by split."""
    for split, pairs in captions.items():
        images = folder / split / "radiology" / "images"
        images.mkdir(parents=True)
        for number, _ in pairs:
            Images.new("L", (4, 4), int(number)).save(images / f"ROCO_0000{number}.jpg")
        lines = "".join(f"ROCO_0000{number}\t{caption}\n" for number, caption in pairs)
        (images.parent / "captions.txt").write_text(lines, encoding="utf-8")
    return folder


def medicat_rows(number: int) -> list[dict[str, object]]:
    """Figures of articles, four of each."""
    names = [{"pdf_hash": f"hash{place // 4}", "fig_uri": f"2-Figure{place}-1.png"} for place in range(number)]
    more = [{"s2_caption": f"Figure {place}.", "radiology": place % 2 == 0} for place in range(number)]
    return [{**name, **own, "oa_info": {"doi": "x"}} for name, own in zip(names, more, strict=True)]


def write_medicat(folder: Path, rows: Sequence[Row]) -> Path:
    (folder / "figures").mkdir(parents=True)
    for place, row in enumerate(rows):
        Images.new("RGB", (4, 4), (place, 0, 0)).save(folder / "figures" / f"{row['pdf_hash']}_{row['fig_uri']}")
    (folder / medicat.FIGURES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def vqa_rad_row(qid: int, image: str = "synpic1.jpg", **changes: object) -> dict[str, object]:
    row = {"qid": qid, "image_name": image, "question": "Is it?", "answer": "Yes", "answer_type": "CLOSED"}
    return {**row, "question_type": "PRES", "image_organ": "HEAD", "phrase_type": "freeform", **changes}


def write_vqa_rad(folder: Path, train: Sequence[Row], test: Sequence[Row], test_name: str = "testset.json") -> Path:
    images = folder / "images"
    images.mkdir(parents=True)
    for row in [*train, *test]:
        Images.new("L", (4, 4)).save(images / str(row["image_name"]))
    (folder / "trainset.json").write_text(json.dumps(train))
    (folder / test_name).write_text(json.dumps(test))
    return folder


def slake_row(qid: int, image: str = "xmlab1/source.jpg", **changes: object) -> dict[str, object]:
    row = {"qid": qid, "img_id": 1, "img_name": image, "question": "Which?", "answer": "CT", "q_lang": "en"}
    more = {"location": "Lung", "modality": "CT", "answer_type": "OPEN", "content_type": "Modality", "base_type": "vqa"}
    return {**row, **more, **changes}


def write_slake(folder: Path, rows: Sequence[Row], validation_name: str = "validate.json") -> Path:
    """All splits have the same rows."""
    for row in rows:
        path = folder / "imgs" / str(row["img_name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        Images.new("L", (4, 4)).save(path)
    for name in ("train.json", validation_name, "test.json"):
        (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return folder


def path_vqa_row(split: str, number: int = 0) -> dict[str, object]:
    return {
        "answer_type": "other",
        "img_id": f"{split}_0001",
        "label": {"the liver": 1},
        "question_id": 100_000 + number,
        "question_type": "where",
        "sent": f"Where is it, {number}?",
    }


def write_path_vqa(folder: Path, rows: Callable[[str], object], where: str = "{split}_vqa.pkl") -> Path:
    """The release, with `rows(split)` in its files of questions, an image a split."""
    for split in PATH_VQA_SPLITS:
        images = folder / "images" / split
        images.mkdir(parents=True)
        Images.new("L", (4, 4), len(split)).save(images / f"{split}_0001.jpg")
        file = folder / "qas" / where.format(split=split)
        file.parent.mkdir(parents=True, exist_ok=True)
        content = rows(split)
        file.write_bytes(json.dumps(content).encode() if file.suffix == ".json" else pickle.dumps(content))
    return folder


def write_vqa_med_split(folder: Path, split: str, lines: Sequence[str]) -> None:
    (folder / "QAPairsByCategory").mkdir(parents=True)
    images = folder / f"{split.capitalize()}_images"
    images.mkdir()
    (folder / f"All_QA_Pairs_{split}.txt").write_text("\n".join(lines))
    for line, category in zip(lines, VQA_MED_CATEGORIES, strict=False):
        (folder / "QAPairsByCategory" / f"{category}_{split}.txt").write_text(f"{line}\n")
        Images.new("L", (4, 4)).save(images / f"{line.split('|')[0]}.jpg")


def write_vqa_med_2019(folder: Path, training: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> Path:
    """Lines as image|question|answer; of the test image|question, without answers."""
    write_vqa_med_split(folder / vqa_med_2019.TRAINING, "train", training)
    write_vqa_med_split(folder / vqa_med_2019.VALIDATION, "val", validation)
    images = folder / vqa_med_2019.TEST / "VQAMed2019_Test_Images"
    images.mkdir(parents=True)
    for line in test:
        Images.new("L", (4, 4)).save(images / f"{line.split('|')[0]}.jpg")
    (folder / vqa_med_2019.TEST / "VQAMed2019_Test_Questions.txt").write_text("".join(f"{line}\n" for line in test))
    return folder


def write_lines(file: Path, lines: Sequence[str], images: Path) -> None:
    """Lines of VQA-Med, and an image for each."""
    images.mkdir(parents=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines))
    for place, line in enumerate(lines):
        Images.new("L", (4, 4), place).save(images / f"{line.split('|')[0]}.jpg")


def write_vqa_med_2020(folder: Path, training: Sequence[str], validation: Sequence[str]) -> Path:
    """The organisers' folders of training and validation, of lines image|question|answer."""
    around = folder / vqa_med_2020.AROUND
    for name, stem, pairs, lines in (
        (vqa_med_2020.TRAINING, "VQAnswering_2020_Train", "QA_pairs", training),
        (vqa_med_2020.VALIDATION, "VQAnswering_2020_Val", "QA_Pairs", validation),
    ):
        write_lines(around / name / f"{stem}_{pairs}.txt", lines, around / name / f"{stem}_images")
    return folder
