"""Image-text pairs made from the training questions and answers of a visual question answering set."""

import os
import re
from typing import Any

import datasets
from datasets import Dataset, DatasetDict

from ..pretraining_schema import PRETRAINING_FEATURES, has_words
from ..references import first_answer
from ..views import cells_of, undecoded
from ..vqa_dataset import load_vqa_dataset

_EXISTENCE = re.compile(r"(is|are|was|were) there (?:(an?|any|some|the) )?(.+)", re.IGNORECASE)


def load_vqa_pairs(
    vqa_dataset: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    validation_by: str | None = "image",
    **column_names: Any,
) -> DatasetDict:
    """One pair for each image of the TRAINING split of `load_vqa_dataset(vqa_dataset, ...)`: its questions as one text.

    The text joins a statement for each question with an answer, in the order of the rows and each once; see
    `to_statement`. `study_id` is the image's id. No row of the validation or test split is read into a text; but where
    a set shows the same images in training and test, as VQA-RAD does, the pairs show them too. A missing validation
    split is made of what `validation_by` says.
    """
    splits = load_vqa_dataset(
        vqa_dataset, data_dir=data_dir, strict=strict, validation_by=validation_by, **column_names
    )
    train = splits["train"]
    return DatasetDict({"train": to_pairs(train)})


def to_statement(question: str, answer: str) -> str:
    """A question and its answer as a statement.

    "Is there a mass?" with "yes" is "There is a mass.", with "no" "There is no mass."; any other question is repeated
    with its answer: "What is the plane: axial."
    """
    question = question.strip().rstrip("?").strip()
    existence = _EXISTENCE.fullmatch(question)
    truth = answer.strip().rstrip(".").lower()
    if existence is None or truth not in ("yes", "no"):
        return f"{question}: {answer.strip().rstrip('.')}."
    verb, article, thing = existence.groups()
    article = "no" if truth == "no" else article
    return f"There {verb.lower()} {f'{article.lower()} ' if article else ''}{thing}."


def to_pairs(rows: Dataset) -> Dataset:
    """One pair for each image of VQA rows, or the images of one question, as `load_vqa_pairs` says."""
    statements: dict[str, dict[str, None]] = {}
    first_rows: dict[str, int] = {}
    for row, cells in enumerate(zip(rows["image_id"][:], rows["question"][:], rows["answer"][:], strict=True)):
        image_id, question, reference = cells
        answer = None if reference is None else str(first_answer(reference))
        if answer is not None and has_words(answer):
            first_rows.setdefault(image_id, row)
            statements.setdefault(image_id, {})[to_statement(question, answer)] = None
    images = undecoded(rows.select(list(first_rows.values())))["image"]
    columns = {
        "images": [cells_of(image) for image in images],
        "text": [" ".join(texts) for texts in statements.values()],
        "study_id": list(statements),
    }
    return datasets.Dataset.from_dict(columns, features=PRETRAINING_FEATURES)
