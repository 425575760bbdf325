"""Questions about a study, their wordings and answers."""

import numpy as np

from .findings import FINDINGS
from .studies import MODALITIES, SIDES, Question, Study, pick, shuffled

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


def ask(study: Study, rng: np.random.Generator, kind: str, answer: str, **words: str) -> None:
    """Put a question to the study in one of its wordings."""
    wordings = [wording.format(**words) for wording in WORDINGS[kind]]
    study.questions.append(Question(kind, wordings[0], pick(wordings, rng), answer))


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
        ask(study, rng, "presence", "yes", a_name=FINDING_NAMES[study.abnormality[0]])
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
        finding, size = study.abnormality
        ask(study, rng, "size", size, name=finding)
        if study.side:
            side = asked_sides[finding]
            ask(study, rng, "position", study.side, name=finding)
            ask(study, rng, "is_position", yes_or_no(side == study.side), name=finding, side=side)
