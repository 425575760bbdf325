"""Studies in blocks, so that a question alone does not give its answer away."""

import numpy as np

from .findings import FINDINGS
from .questions import ask_about_anatomy, ask_about_findings, ask_about_presence
from .studies import ORGANS, PLANES, SIDES, SIZES, Study, pick, shuffled

SPLIT_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}

BLOCK = 36

# Radiographs cannot be axial, so they fill half of the other planes: both attributes are then uniform.
PLANE_MODALITIES = {
    "axial": ("ct", "mri", "ct", "mri"),
    "coronal": ("x-ray", "x-ray", "ct", "mri"),
    "sagittal": ("x-ray", "x-ray", "ct", "mri"),
}


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


def make_studies(split: str, num_studies: int, seed: int) -> list[Study]:
    """Return a split's share of `num_studies` studies, at least one."""
    count = split_sizes(num_studies)[split]
    blocks = [make_block(seed, split, number) for number in range(-(-count // BLOCK))]
    return [study for block in blocks for study in block][:count]


def split_sizes(num_studies: int) -> dict[str, int]:
    """Return the number of studies of each split.

    Raises:
        ValueError: If there are fewer than three studies, one for each split.
    """
    if num_studies < len(SPLIT_SHARES):
        raise ValueError(f"phantom needs at least {len(SPLIT_SHARES)} studies, one a split, but got {num_studies}")
    held_out = {split: max(1, round(SPLIT_SHARES[split] * num_studies)) for split in ("validation", "test")}
    return {"train": num_studies - sum(held_out.values()), **held_out}
