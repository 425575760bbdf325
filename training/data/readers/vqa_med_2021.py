"""VQA-Med-2021 (Ben Abacha et al., 2021): training on VQA-Med-2020's questions, and 1,000 new ones to evaluate."""

import os

import datasets
from datasets import DatasetDict

from ..schema import compare_counts
from .bad_rows import BadRows
from .table_files import find_first, require_folder
from .vqa_med_2020 import AROUND, read_answered, read_test, read_training

VALIDATION, TEST = "VQA-Med-2021-Tasks-1-2-NewValidationSets", "Task1-VQA-2021-TestSet-w-GroundTruth"

PUBLISHED_ROWS = {"train": 4500, "validation": 500, "test": 500}


def load_vqa_med_2021(
    data_dir: str | os.PathLike[str] | None = None, strict: bool = False, on_bad_row: str = "error"
) -> DatasetDict:
    """Read the organisers' folders, as they unpack, in one folder.

    - VQA-Med-2020's folders of training and validation (`load_vqa_med_2020`), which are this year's training;
    - `VQA-Med-2021-Tasks-1-2-NewValidationSets/` with `VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt` and
      `ImageCLEF-2021-VQA-Med-New-Validation-Images/`;
    - `Task1-VQA-2021-TestSet-w-GroundTruth/` with `Task1-VQA-2021-TestSet-Questions.txt`, `VQA-500-Images/`, also in
      `images/`, and `Task1-VQA-2021-TestSet-ReferenceAnswers.txt`, without which `answer` is None.

    Lines are those of VQA-Med-2020; 75 test questions have several right answers, of which any counts;
    `answer` keeps the bars between them.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        ValueError: If `data_dir` is None, if `strict` and the rows are not as many as published, or a row is bad
            and `on_bad_row` is "error".
    """
    folder = require_folder(data_dir, "vqa_med_2021", f"{AROUND}/, {VALIDATION}/ and {TEST}/")
    bad_rows = BadRows(on_bad_row)
    validation, test = (find_first(folder, (name,), "vqa_med_2021") for name in (VALIDATION, TEST))
    splits = DatasetDict(
        {
            "train": datasets.concatenate_datasets(list(read_training("vqa_med_2021", folder, bad_rows).values())),
            "validation": read_answered(
                find_first(validation, ("VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt",), "vqa_med_2021"),
                find_first(validation, ("ImageCLEF-2021-VQA-Med-New-Validation-Images",), "vqa_med_2021"),
                bad_rows,
            ),
            "test": read_test(
                find_first(test, ("Task1-VQA-2021-TestSet-Questions.txt",), "vqa_med_2021"),
                test / "Task1-VQA-2021-TestSet-ReferenceAnswers.txt",
                find_first(test, ("VQA-500-Images", "images/VQA-500-Images"), "vqa_med_2021"),
                bad_rows,
            ),
        }
    )
    bad_rows.report()
    compare_counts("vqa_med_2021", splits.num_rows, PUBLISHED_ROWS, strict)
    return splits
