"""phantom as data sets of the two schemas."""

import io
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict

import datasets
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..images import ImageCell
from ..pretraining_schema import PRETRAINING_FEATURES
from ..schema import VQA_FEATURES
from .blocks import BLOCK, SPLIT_SHARES, make_studies
from .drawing import Box
from .reports import write_report
from .studies import Study

logger = logging.getLogger(__name__)

QUESTION_TYPES = {"is_modality": "modality", "is_position": "position", "normality": "abnormality"}

PHANTOM_VQA_FEATURES = datasets.Features(
    {
        **VQA_FEATURES,
        "template": datasets.Value("string"),
        "modality": datasets.Value("string"),
        "organ": datasets.Value("string"),
        "box": datasets.List(datasets.Value("int64")),
    }
)

PHANTOM_PRETRAINING_FEATURES = datasets.Features(
    {
        **PRETRAINING_FEATURES,
        "modality": datasets.Value("string"),
        "plane": datasets.Value("string"),
        "organ": datasets.Value("string"),
        "finding": datasets.Value("string"),
        "side": datasets.Value("string"),
        "size": datasets.Value("string"),
        "box": datasets.List(datasets.List(datasets.Value("int64"))),
    }
)


class PhantomQuestion(TypedDict):
    """A row of `load_phantom_vqa`, of the columns of `PHANTOM_VQA_FEATURES`."""

    image: ImageCell
    question: str
    answer: str
    answer_type: str
    question_type: str
    image_id: str
    question_id: str
    template: str
    modality: str
    organ: str
    box: Box | None


class PhantomStudy(TypedDict):
    """A row of `load_phantom_pretraining`, of the columns of `PHANTOM_PRETRAINING_FEATURES`."""

    images: list[ImageCell]
    text: str
    study_id: str
    modality: str
    plane: str
    organ: str
    finding: str | None
    side: str | None
    size: str | None
    box: list[Box | None]


def encode_png(image: np.ndarray) -> ImageCell:
    """Return a (height, width) uint8 image as `datasets.Image` stores it."""
    buffer = io.BytesIO()
    # No larger than at the usual level, on these images, in less than half of its time.
    Image.fromarray(image).save(buffer, format="PNG", compress_level=4)
    return {"bytes": buffer.getvalue(), "path": None}


def vqa_rows(study: Study, image_size: int) -> list[PhantomQuestion]:
    """Return a row for each question on the study's first view."""
    image, box = study.draw(view=0, image_size=image_size)
    encoded = encode_png(image)
    return [
        {
            "image": encoded,
            "image_id": study.study_id,
            "modality": study.modality,
            "organ": study.organ,
            "box": box,
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
        num_studies: Studies of all splits together; multiples of 360 balance every split exactly.
        image_size: Side of the square images in pixels.
        seed: Another seed gives other studies.

    Returns:
        Splits "train", "validation" and "test" (70, 10 and 20 % of the studies), a row a question, about eight an
        image. `box` is the finding's [x0, y0, x1, y1] in pixels, ends exclusive, or None; `template` is the
        canonical wording that all rephrasings of a question share.

    Raises:
        ValueError: If there are fewer than three studies.
    """
    splits = {}
    logger.info(f"phantom: drawing {num_studies:,} studies.")
    for split in SPLIT_SHARES:
        studies = make_studies(split, num_studies, seed)
        drawn = _of_each(partial(vqa_rows, image_size=image_size), studies, split)
        rows = [dict(row) for rows_of_study in drawn for row in rows_of_study]
        splits[split] = datasets.Dataset.from_list(rows, features=PHANTOM_VQA_FEATURES)
    return datasets.DatasetDict(splits)


def phantom_vqa_sentences(num_studies: int = 3600, seed: int = 0) -> list[str]:
    """Return the training questions and answers of `load_phantom_vqa` without their images, for a tokenizer."""
    studies = make_studies("train", num_studies, seed)
    return [text for study in studies for question in study.questions for text in (question.text, question.answer)]


def pretraining_row(study: Study, image_size: int) -> PhantomStudy:
    """Return the study's two views, its report and its truth."""
    views = [study.draw(view, image_size) for view in range(2)]
    return {
        "images": [encode_png(image) for image, _ in views],
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
        num_studies: Studies of all splits together.
        image_size: Side of the square images in pixels.
        seed: Another seed gives other studies.

    Returns:
        Splits "train", "validation" and "test", a row a study. The views share anatomy and finding and differ in crop,
        contrast and noise; `box` holds a box, or None, for each. `finding`, `side` and `size` are None where there is
        no finding, `side` also where it cannot be seen.

    Raises:
        ValueError: If there are fewer than three studies.
    """
    splits = {}
    logger.info(f"phantom: drawing {num_studies:,} studies, two views each.")
    for split in SPLIT_SHARES:
        studies = make_studies(split, num_studies, seed)
        rows = [dict(row) for row in _of_each(partial(pretraining_row, image_size=image_size), studies, split)]
        splits[split] = datasets.Dataset.from_list(rows, features=PHANTOM_PRETRAINING_FEATURES)
    return datasets.DatasetDict(splits)


def _of_each(draw: Callable[[Study], Any], studies: list[Study], split: str) -> list[Any]:
    """What `draw` makes of each study, in their order, in a process on each core where Linux can fork them."""
    # A bar on a terminal alone, and where it takes longer than a second.
    counted = partial(tqdm, desc=f"phantom, {split}", total=len(studies), unit="study", disable=None, delay=1)
    may_fork = sys.platform == "linux" and not multiprocessing.current_process().daemon
    cores = len(os.sched_getaffinity(0)) if may_fork else 1
    if cores == 1 or len(studies) <= BLOCK:
        return list(counted(map(draw, studies)))
    with multiprocessing.get_context("fork").Pool(cores) as processes:
        return list(counted(processes.imap(draw, studies, chunksize=BLOCK)))
