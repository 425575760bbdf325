"""A validation split of VQA-RAD's training questions, made as its official test is made of all its questions."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from datasets import Dataset, DatasetDict

from .splits import VALIDATION_FRACTION, shuffled

# A question as somebody wrote it; "frame" is its form as a template.
WRITTEN = ("freeform", "para")

# Of the official test's 451 questions, by how they are numbered among the training questions: so many are one of two
# wordings of a question, of which training has the templates alone; so many have no second wording, but a template in
# training; and so many have nothing of theirs in training.
OFFICIAL_COUNTS = {"two wordings": 242, "one wording": 51, "alone": 158}

NEEDED = "validation_by 'official' takes VQA-RAD's trainset.json, whose templates are phrases of the type 'frame'"
CURE = "Give another validation_by."


def add_official_validation(splits: DatasetDict, fraction: float = VALIDATION_FRACTION, seed: int = 0) -> DatasetDict:
    """`splits` with a validation split that asks of training images what VQA-RAD's official test asks.

    The official test holds written questions and no template, both wordings of a question together, and the templates
    of what it asks stay in training. So do they here: of the questions in two wordings, in one, and without a template
    as many are held out, as parts of the whole, as the official test has. Each image stays in training.

    Args:
        splits: Of which "train" has `image_id`, `question_id`, `phrase_type` and `rephrasing_of`, as those of
            VQA-RAD's `trainset.json` have.
        fraction: Of the training rows, about how many are held out.
        seed: What the order of questions depends on, beside their ids; that of the rows does not matter.

    Raises:
        ValueError: If the training questions lack a column, or have too few of one kind, as the release without
            templates has.
    """
    train = splits["train"]
    if missing := sorted({"phrase_type", "rephrasing_of"} - set(train.column_names)):
        raise ValueError(f"{NEEDED}, and these data have no column {missing[0]!r}. {CURE}")
    images: list[str] = train["image_id"][:]
    questions = _written_by_question(train)
    left = Counter(images)
    held: set[int] = set()
    for kind, count in OFFICIAL_COUNTS.items():
        wanted = round(fraction * len(train) * count / sum(OFFICIAL_COUNTS.values()))
        chosen = _choose(questions[kind], wanted, images, left, seed)
        if len(chosen) < wanted:
            raise ValueError(f"{NEEDED}: {len(chosen)} of {wanted} held-out questions of the kind {kind!r}. {CURE}")
        held.update(chosen)
    others = {name: split for name, split in splits.items() if name != "train"}
    kept = [row for row in range(len(train)) if row not in held]
    return DatasetDict({"train": train.select(kept), "validation": train.select(sorted(held)), **others})


def _written_by_question(train: Dataset) -> dict[str, dict[str, list[int]]]:
    """By kind and question, the rows that hold its wordings."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, first in enumerate(train["rephrasing_of"][:]):
        rows_of[first].append(row)
    phrases = train["phrase_type"][:]
    questions: dict[str, dict[str, list[int]]] = {kind: {} for kind in OFFICIAL_COUNTS}
    for first, rows in rows_of.items():
        written = [row for row in rows if phrases[row] in WRITTEN]
        if len(written) == len(rows) == 1:
            questions["alone"][first] = written
        elif len(written) == 2 and len(rows) > 2:
            questions["two wordings"][first] = written
        elif len(written) == 1:
            questions["one wording"][first] = written
    return questions


def _choose(
    questions: dict[str, list[int]], wanted: int, images: Sequence[str], left: Counter[str], seed: int
) -> list[int]:
    """Rows of whole questions, `wanted` or one more; `left` counts the rows of each image that stay in training."""
    chosen: list[int] = []
    for first in shuffled(questions, seed):
        if len(chosen) >= wanted:
            break
        rows = questions[first]
        taken = Counter(images[row] for row in rows)
        if all(left[image] > count for image, count in taken.items()):
            left.subtract(taken)
            chosen += rows
    return chosen
