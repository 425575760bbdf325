"""The embedded default data set: generated, radiology-like studies of which everything is known.

Studies are made in blocks of 36 in which every attribute, and every answer of every question, is balanced; see
docs/phantom.md. The n-th study of a split depends on the seed, the split and n alone, so a smaller set is a part of a
larger one, and both loaders split the same studies in the same way.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
from PIL import Image

from .phantom_drawing import FINDINGS, Box, Lesion, draw

MODALITIES = ("x-ray", "ct", "mri")
PLANES = ("axial", "coronal", "sagittal")
ORGANS = ("chest", "brain", "abdomen")
SIDES = ("left", "right")
SIZES = ("small", "large")
SPLIT_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
BLOCK = 36

# Radiographs cannot be axial, so they fill half of the other planes: both attributes are then uniform.
PLANE_MODALITIES = {
    "axial": ("ct", "mri", "ct", "mri"),
    "coronal": ("x-ray", "x-ray", "ct", "mri"),
    "sagittal": ("x-ray", "x-ray", "ct", "mri"),
}

# Per kind: the wordings, the canonical one first. {name} is a finding, {a_name} a finding or modality with its article.
WORDINGS: dict[str, tuple[str, ...]] = {
    "modality": (
        "what imaging modality is this?",
        "which modality was used to take this image?",
        "how was this image acquired?",
    ),
    "is_modality": ("is this {a_name}?", "was this image taken with {a_name}?", "does the picture show {a_name}?"),
    "plane": (
        "in what plane is this image?",
        "which plane is shown?",
        "what is the orientation of the slice or projection?",
    ),
    "organ": (
        "what region of the body is shown?",
        "which part of the body does the image show?",
        "what organ system is imaged?",
    ),
    "normality": (
        "is the image normal?",
        "does the study look normal?",
        "is this a study without any abnormality?",
    ),
    "presence": ("is there {a_name}?", "does the image show {a_name}?", "can {a_name} be seen?"),
    "abnormality": (
        "what abnormality is shown?",
        "what is the main finding?",
        "which abnormality can be seen in the image?",
    ),
    "position": (
        "on which side is the {name}?",
        "which side of the patient shows the {name}?",
        "where is the {name}, left or right?",
    ),
    "is_position": (
        "is the {name} on the {side}?",
        "does the {name} lie on the patient's {side} side?",
        "is the {name} {side}-sided?",
    ),
    "size": ("how large is the {name}?", "what is the size of the {name}?", "is the {name} small or large?"),
}
QUESTION_TYPES = {"is_modality": "modality", "is_position": "position", "normality": "abnormality"}
MODALITY_NAMES = {"x-ray": "an x-ray", "ct": "a ct", "mri": "an mri"}
FINDING_NAMES = {
    "mass": "a mass",
    "cyst": "a cyst",
    "nodule cluster": "a nodule cluster",
    "calcification": "a calcification",
    "hemorrhage": "hemorrhage",
    "edema": "edema",
    "free air": "free air",
    "fluid level": "a fluid level",
}

TECHNIQUES = (
    "{plane} {modality} of the {organ}.",
    "{modality} of the {organ}, {plane} plane.",
    "technique: {plane} {modality}, {organ}.",
)
STOCK_SENTENCES = {
    "chest": (
        "the heart is of normal size.",
        "the mediastinum is not widened.",
        "the bony thorax is intact.",
        "the vessels of the lungs are unremarkable.",
    ),
    "brain": (
        "the midline is not shifted.",
        "the bones of the skull are intact.",
        "the ventricles are of normal width.",
        "the cranial cavity is of normal shape.",
    ),
    "abdomen": (
        "the bowel is not dilated.",
        "the spine is unremarkable.",
        "the liver is of normal size.",
        "the outlines of the kidneys are regular.",
    ),
}
NORMAL_IMPRESSIONS = (
    "impression: no acute abnormality.",
    "impression: normal study.",
    "impression: no abnormality is seen.",
)
FINDING_SENTENCES = (
    "{size} {finding} {where}.",
    "{size} {finding} is seen {where}.",
    "there is evidence of {size} {finding} {where}.",
)

VQA_FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "question": datasets.Value("string"),
        "answer": datasets.Value("string"),
        "answer_type": datasets.Value("string"),
        "question_type": datasets.Value("string"),
        "image_id": datasets.Value("string"),
        "question_id": datasets.Value("string"),
        "template": datasets.Value("string"),
        "modality": datasets.Value("string"),
        "organ": datasets.Value("string"),
        "box": datasets.List(datasets.Value("int64")),
    }
)
PRETRAINING_FEATURES = datasets.Features(
    {
        "images": datasets.List(datasets.Image()),
        "text": datasets.Value("string"),
        "study_id": datasets.Value("string"),
        "modality": datasets.Value("string"),
        "plane": datasets.Value("string"),
        "organ": datasets.Value("string"),
        "finding": datasets.Value("string"),
        "side": datasets.Value("string"),
        "size": datasets.Value("string"),
        "box": datasets.List(datasets.List(datasets.Value("int64"))),
    }
)


@dataclass(frozen=True)
class Question:
    """One question on one study; `template` is the canonical wording, the same for all rephrasings."""

    kind: str
    template: str
    text: str
    answer: str


@dataclass
class Study:
    """One generated study: the truth, the questions asked about it and the seed of its pictures.

    `direction` is the half of the picture in which the finding lies: -1 for its left, 1 for its right.
    """

    modality: str
    plane: str
    organ: str
    finding: str | None = None
    side: str | None = None
    size: str | None = None
    direction: int = 1
    study_id: str = ""
    key: list[int] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def draw(self, view: int, image_size: int, with_finding: bool = True) -> tuple[np.ndarray, Box | None]:
        """Return a view's picture, (image_size, image_size) uint8, and the finding's box in pixels, ends exclusive."""
        lesion = Lesion(self.finding, self.size, self.direction) if self.finding and with_finding else None
        return draw(self.modality, self.plane, self.organ, lesion, self.key, view, image_size)


def shuffled(items: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """Return the items in random order."""
    return [items[i] for i in rng.permutation(len(items))]


def make_block(seed: int, split: str, number: int) -> list[Study]:
    """Return 36 studies with their questions: 24 with a finding, each finding once in each plane, and 12 without."""
    key = [seed, list(SPLIT_SHARES).index(split)]
    rng = np.random.default_rng([*key, number])
    abnormal, normal = make_abnormal(rng, number), make_normal(rng)
    studies = [*abnormal, *normal]
    ask_about_anatomy(studies, rng)
    ask_about_presence(abnormal, normal, rng)
    ask_about_findings(abnormal, rng)
    studies = shuffled(studies, rng)
    for index, study in enumerate(studies, start=number * BLOCK):
        study.study_id = f"phantom-{split}-{index:05d}"
        study.key = [*key, index]
    return studies


def make_abnormal(rng: np.random.Generator, number: int) -> list[Study]:
    """Return the block's 24 studies with a finding; even and odd blocks complement each other in side and size."""
    studies = []
    organs = shuffled(ORGANS * 8, rng)
    for plane_index, plane in enumerate(PLANES):
        modalities = shuffled(PLANE_MODALITIES[plane] * 2, rng)
        for index, finding in enumerate(FINDINGS):
            size = SIZES[(plane_index + index + number) % 2]
            side = None if plane == "sagittal" else SIDES[(plane_index + index // 2 + number // 2) % 2]
            direction = pick((-1, 1), rng) if side is None else {"left": 1, "right": -1}[side]
            studies.append(Study(modalities[index], plane, organs.pop(), finding, side, size, direction))
    return studies


def make_normal(rng: np.random.Generator) -> list[Study]:
    """Return the block's 12 studies without a finding."""
    organs = shuffled(ORGANS * 4, rng)
    return [Study(modality, plane, organs.pop()) for plane in PLANES for modality in PLANE_MODALITIES[plane]]


def ask(study: Study, rng: np.random.Generator, kind: str, answer: str, **words: str) -> None:
    """Put a question to the study in one of its wordings."""
    wordings = [wording.format(**words) for wording in WORDINGS[kind]]
    study.questions.append(Question(kind, wordings[0], pick(wordings, rng), answer))


def pick(items: Sequence[Any], rng: np.random.Generator) -> Any:
    """Return one of the items, each as likely as the others."""
    return items[rng.integers(len(items))]


def yes_or_no(truth: bool) -> str:
    """Return the answer to a closed question."""
    return "yes" if truth else "no"


def ask_about_anatomy(studies: list[Study], rng: np.random.Generator) -> None:
    """Ask every study for modality, plane and organ, and whether it is a modality that half of the time is wrong."""
    for study in studies:
        ask(study, rng, "modality", study.modality)
        ask(study, rng, "plane", study.plane)
        ask(study, rng, "organ", study.organ)
    for modality in MODALITIES:
        others = [other for other in MODALITIES if other != modality]
        same = [study for study in studies if study.modality == modality]
        for study, name in zip(same, shuffled([modality] * 6 + others * 3, rng), strict=True):
            ask(study, rng, "is_modality", yes_or_no(name == modality), a_name=MODALITY_NAMES[name])


def ask_about_presence(abnormal: list[Study], normal: list[Study], rng: np.random.Generator) -> None:
    """Ask whether all is well, what is seen, and for each finding as often where it is as where it is not."""
    for study in [*normal, *shuffled(abnormal, rng)[:12]]:
        ask(study, rng, "normality", yes_or_no(study.finding is None))
    for study in [*abnormal, *shuffled(normal, rng)[:3]]:
        ask(study, rng, "abnormality", study.finding or "none")
    for study in abnormal:
        ask(study, rng, "presence", "yes", a_name=FINDING_NAMES[study.finding])
    hosts = [*normal, *shuffled(abnormal, rng)[:12]]
    absent = shuffled(FINDINGS * 3, rng)
    while any(study.finding == finding for study, finding in zip(hosts, absent, strict=True)):
        absent = shuffled(absent, rng)
    for study, finding in zip(hosts, absent, strict=True):
        ask(study, rng, "presence", "no", a_name=FINDING_NAMES[finding])


def ask_about_findings(abnormal: list[Study], rng: np.random.Generator) -> None:
    """Ask for size and, where it can be seen, for side; one block holds each finding once on either side."""
    asked_sides = {finding: pick(SIDES, rng) for finding in FINDINGS}
    for study in abnormal:
        ask(study, rng, "size", study.size, name=study.finding)
        if study.side:
            side = asked_sides[study.finding]
            ask(study, rng, "position", study.side, name=study.finding)
            ask(study, rng, "is_position", yes_or_no(side == study.side), name=study.finding, side=side)


def make_studies(split: str, num_studies: int, seed: int) -> list[Study]:
    """Return a split's share of `num_studies` studies, at least one."""
    count = split_sizes(num_studies)[split]
    blocks = [make_block(seed, split, number) for number in range(-(-count // BLOCK))]
    return [study for block in blocks for study in block][:count]


def split_sizes(num_studies: int) -> dict[str, int]:
    """Return the number of studies of each split.

    Raises:
        ValueError: with fewer than three studies, one for each split.
    """
    if num_studies < len(SPLIT_SHARES):
        raise ValueError(f"phantom needs at least {len(SPLIT_SHARES)} studies, one a split, but got {num_studies}")
    held_out = {split: max(1, round(SPLIT_SHARES[split] * num_studies)) for split in ("validation", "test")}
    return {"train": num_studies - sum(held_out.values()), **held_out}


def encode_png(picture: np.ndarray) -> dict[str, Any]:
    """Return a (height, width) uint8 picture as `datasets.Image` stores it."""
    buffer = io.BytesIO()
    # No larger than at the usual level, on these pictures, in less than half of its time.
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=4)
    return {"bytes": buffer.getvalue(), "path": None}


def vqa_rows(study: Study, image_size: int) -> list[dict[str, Any]]:
    """Return a row for each question on the study's first view."""
    picture, box = study.draw(view=0, image_size=image_size)
    shared = {
        "image": encode_png(picture),
        "image_id": study.study_id,
        "modality": study.modality,
        "organ": study.organ,
        "box": box,
    }
    return [
        {
            **shared,
            "question": question.text,
            "answer": question.answer,
            "answer_type": "closed" if question.answer in ("yes", "no") else "open",
            "question_type": QUESTION_TYPES.get(question.kind, question.kind),
            "question_id": f"{study.study_id}-{index}",
            "template": question.template,
        }
        for index, question in enumerate(study.questions)
    ]


def load_phantom_vqa(num_studies: int = 3600, image_size: int = 96, seed: int = 0) -> datasets.DatasetDict:
    """Generate the questions on the first view of every study.

    Args:
        num_studies: studies of all splits together; multiples of 360 balance every split exactly.
        image_size: side of the square pictures in pixels.
        seed: another seed gives other studies.

    Returns:
        Splits "train", "validation" and "test" (70, 10 and 20 % of the studies), a row a question, about eight a
        picture. `box` is the finding's [x0, y0, x1, y1] in pixels, ends exclusive, or None; `template` is the
        canonical wording that all rephrasings of a question share.

    Raises:
        ValueError: with fewer than three studies.
    """
    splits = {}
    for split in SPLIT_SHARES:
        studies = make_studies(split, num_studies, seed)
        rows = [row for study in studies for row in vqa_rows(study, image_size)]
        splits[split] = datasets.Dataset.from_list(rows, features=VQA_FEATURES)
    return datasets.DatasetDict(splits)


def phantom_vqa_sentences(num_studies: int = 3600, seed: int = 0) -> list[str]:
    """Return the training questions and answers of `load_phantom_vqa` without their pictures, for a tokenizer."""
    studies = make_studies("train", num_studies, seed)
    return [text for study in studies for question in study.questions for text in (question.text, question.answer)]


def pretraining_row(study: Study, image_size: int) -> dict[str, Any]:
    """Return the study's two views, its report and its truth."""
    views = [study.draw(view, image_size) for view in range(2)]
    return {
        "images": [encode_png(picture) for picture, _ in views],
        "text": write_report(study),
        "study_id": study.study_id,
        "modality": study.modality,
        "plane": study.plane,
        "organ": study.organ,
        "finding": study.finding,
        "side": study.side,
        "size": study.size,
        "box": [box for _, box in views],
    }


def load_phantom_pretraining(num_studies: int = 3600, image_size: int = 96, seed: int = 0) -> datasets.DatasetDict:
    """Generate two views and a report of every study: the studies of `load_phantom_vqa`, split in the same way.

    Args:
        num_studies: studies of all splits together.
        image_size: side of the square pictures in pixels.
        seed: another seed gives other studies.

    Returns:
        Splits "train", "validation" and "test", a row a study. The views share anatomy and finding and differ in crop,
        contrast and noise; `box` holds a box, or None, for each. `finding`, `side` and `size` are None where there is
        no finding, `side` also where it cannot be seen.

    Raises:
        ValueError: with fewer than three studies.
    """
    splits = {}
    for split in SPLIT_SHARES:
        rows = [pretraining_row(study, image_size) for study in make_studies(split, num_studies, seed)]
        splits[split] = datasets.Dataset.from_list(rows, features=PRETRAINING_FEATURES)
    return datasets.DatasetDict(splits)


def write_report(study: Study) -> str:
    """Return a report of stock sentences; two normal studies' reports often differ in a word, or in none."""
    rng = np.random.default_rng([*study.key, 9])
    technique, stock = pick(TECHNIQUES, rng), pick(STOCK_SENTENCES[study.organ], rng)
    if study.finding is None:
        sentences = [technique, stock, pick(NORMAL_IMPRESSIONS, rng)]
    else:
        sentences = [technique, pick(FINDING_SENTENCES, rng), stock, "impression: {size} {finding} {where}."]
    words = {**vars(study), "where": f"on the {study.side}" if study.side else f"in the {study.organ}"}
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in (s.format(**words) for s in sentences))
