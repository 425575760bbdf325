"""The embedded default data set: generated, radiology-like studies of which everything is known.

Studies are made in blocks of 36 in which every attribute, and every answer of every question, is balanced; see
docs/phantom.md. The n-th study of a split depends on the seed, the split and n alone, so a smaller set is a part of a
larger one, and both loaders split the same studies in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .drawing import Box, draw
from .findings import Lesion

MODALITIES = ("x-ray", "ct", "mri")

PLANES = ("axial", "coronal", "sagittal")

ORGANS = ("chest", "brain", "abdomen")

SIDES = ("left", "right")

SIZES = ("small", "large")

# The columns that say what is seen of a study: two with all of them alike differ in no image, only in wording.
VISIBLE = ("modality", "plane", "organ", "finding", "side", "size")


@dataclass(frozen=True)
class Question:
    """One question on one study; `template` is the canonical wording, the same for all rephrasings."""

    kind: str
    template: str
    text: str
    answer: str


@dataclass
class Study:
    """One generated study: the truth, the questions asked about it and the seed of its images.

    `direction` is the half of the image in which the finding lies: -1 for its left, 1 for its right.
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

    @property
    def abnormality(self) -> tuple[str, str]:
        """The finding and its size.

        Raises:
            ValueError: If the study has no finding.
        """
        if self.finding is None or self.size is None:
            raise ValueError(f"{self.study_id} is a normal study.")
        return self.finding, self.size

    def draw(self, view: int, image_size: int, with_finding: bool = True) -> tuple[np.ndarray, Box | None]:
        """Return a view's image, (image_size, image_size) uint8, and the finding's box in pixels, ends exclusive."""
        lesion = Lesion(*self.abnormality, self.direction) if self.finding and with_finding else None
        return draw(self.modality, self.plane, self.organ, lesion, self.key, view, image_size)


def shuffled(items: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """Return the items in random order."""
    return [items[i] for i in rng.permutation(len(items))]


def pick(items: Sequence[Any], rng: np.random.Generator) -> Any:
    """Return one of the items, each as likely as the others."""
    return items[int(rng.integers(len(items)))]
