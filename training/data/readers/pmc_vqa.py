"""PMC-VQA (Zhang et al., 2023): 227,000 multiple-choice questions on figures of open-access articles."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from string import ascii_uppercase
from typing import Any

from datasets import DatasetDict

from ..schema import VqaRow, as_cell, as_image_name, as_question, build_vqa_dataset, compare_counts
from ..shown_values import shown
from .bad_rows import BadRows, RowSource
from .choices import ChoiceReader
from .csv_files import read_csv
from .image_places import image_finder
from .table_files import check_named_cells, find_first, require_folder

# By variant the files of training and test, and where their images lie.
VARIANTS = {
    "1": ("train.csv", "test.csv", ("images", "images.zip")),
    "clean": ("train.csv", "test_clean.csv", ("images", "images.zip")),
    "2": ("train_2.csv", "test_2.csv", ("images_2", "figures", "images_2.zip")),
}

PUBLISHED_ROWS = {
    "1": {"train": 176948, "test": 50000},
    "clean": {"train": 176948, "test": 2000},
    "2": {"train": 152603, "test": 33430},
}

CHOICES = tuple(f"Choice {letter}" for letter in "ABCD")


def load_pmc_vqa(
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    variant: str = "1",
    on_bad_row: str = "error",
) -> DatasetDict:
    """Read a local copy of `RadGenome/PMC-VQA`, which holds three sets, of which each is asked for by itself.

    - "1": `train.csv` and `test.csv` (Figure_path, Question, Answer, Choice A to Choice D, Answer_label), with images
      in `images/` or `images.zip`.
    - "clean": `train.csv` and `test_clean.csv`, the 2,000 questions that the authors checked.
    - "2": `train_2.csv` and `test_2.csv` (.., Caption, Answer, a letter), of figures without parts, with images in
      `images_2/`, `figures/`, as the zip unpacks, or `images_2.zip`.

    A zip is read where it lies. `choices` are the four options without their letters, and `answer` is the one whose
    letter the file names. The image id is Figure_path, the question id `<image id>|<question>`.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, there is no such variant, if `strict` and the rows are not as many as
            published, or a row is bad and `on_bad_row` is "error".
    """
    if variant not in VARIANTS:
        raise ValueError(f"pmc_vqa has the variants {', '.join(VARIANTS)}, not {variant!r}.")
    train, test, places = VARIANTS[variant]
    folder = require_folder(data_dir, "pmc_vqa", f"{train}, {test} and {places[0]}/")
    find_image = image_finder(folder, find_first(folder, places, "pmc_vqa"))
    bad_rows = BadRows(on_bad_row)
    splits = DatasetDict()
    for split, name in (("train", train), ("test", test)):
        file = find_first(folder, (name,), "pmc_vqa")
        convert = partial(_to_schema, find_image, ChoiceReader(CHOICES))
        splits[split] = build_vqa_dataset(RowSource(file, bad_rows).convert_files(read_csv(file), convert))
    bad_rows.report()
    compare_counts(f"pmc_vqa ({variant})", splits.num_rows, PUBLISHED_ROWS[variant], strict)
    return splits


def _to_schema(find_image: Callable[[str], tuple[str, str]], reader: ChoiceReader, row: Mapping[str, Any]) -> VqaRow:
    check_named_cells(row)
    image_id = as_image_name(row["Figure_path"]).strip()
    choices, _ = reader.read(row, None)
    # By place, for a choice may be the letter of another.
    letters = [letter for letter, name in zip(ascii_uppercase, CHOICES, strict=False) if as_cell(row[name])]
    by_letter = dict(zip(letters, choices or [], strict=True))
    label = row["Answer_label"] if "Answer_label" in row else row["Answer"]
    letter = (as_cell(label) or "").strip().strip("'\"")
    if letter not in by_letter:
        raise ValueError(f"the answer is {shown(label)}, the letter of none of the choices {shown(choices)}.")
    return {
        "image": find_image(image_id)[0],
        "question": as_question(row["Question"]).strip(),
        "answer": by_letter[letter],
        "question_type": None,
        "image_id": image_id,
        "question_id": None,
        "choices": choices,
    }
