"""The one form that every visual question answering reader gives, and the checks that readers share."""

import ast
import io
import itertools
import json
import math
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from datasets import Dataset, Features, Image, List, Value, concatenate_datasets
from transformers.utils import logging

from ...processing_amif.answer_normalization_amif import plain_characters
from .references import ANSWER_SEPARATOR, joined_answers, normal_form
from .shown_values import shown
from .views import IMAGES, MAX_VIEWS, VIEW_SEPARATOR

logger = logging.get_logger(__name__)

# What a file of questions holds beside what is read, as JSON, to stand beside their answers.
INPUT_COLUMNS = "input_columns"

KIND_COLUMNS = ("modality", "organ")

ANSWER_TYPES = ("open", "closed")

VQA_FEATURES = Features(
    {
        "image": Image(),
        "question": Value("string"),
        "answer": Value("string"),
        "answer_type": Value("string"),
        "question_type": Value("string"),
        "image_id": Value("string"),
        "question_id": Value("string"),
    }
)

_HALF_LETTER = re.compile("[\ud800-\udfff]")

# On their way into Arrow's memory: each is then a dictionary, several times as large, for as long.
_ROWS_AT_ONCE = 20_000

# Of `choices`, which a data set has where any of its questions has some, and of `answer` where any has several.
TEXTS = List(Value("string"))


class VqaRow(TypedDict):
    """A row that a reader makes: text as in the schema, and further columns that its data set has.

    `image` is a path, or what tells an embedded image from others; or a list of such. `question_id` is None until one
    is given to it.
    """

    image: str | list[str]
    question: str
    answer: str | list[str] | None
    answer_type: NotRequired[str | None]
    question_type: str | None
    image_id: str
    question_id: str | None
    choices: NotRequired[list[str] | None]
    modality: NotRequired[str | None]
    organ: NotRequired[str | None]
    split: NotRequired[str | None]
    language: NotRequired[str | None]
    input_columns: NotRequired[str | None]
    phrase_type: NotRequired[str | None]
    rephrasing_of: NotRequired[str | None]


def as_text(value: Any) -> str | None:
    """`value` as a string; None for None and for text that shows nothing. Numbers, as some answers are, are spelled."""
    text = None if value is None else str(value)
    return text if text and plain_characters(text).strip() else None


def as_cell(value: Any) -> str | None:
    """`as_text` of what one cell of a table may hold: text or a number; NaN is an empty cell.

    Raises:
        ValueError: If it is a list, a dictionary, true or false, an infinite number, or text that is no Unicode.
    """
    if value is None or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value in (math.inf, -math.inf):
        raise ValueError(f"{shown(value)} is neither text nor a number: write one text in this cell.")
    if _HALF_LETTER.search(str(value)):
        raise ValueError(f"{shown(value)} holds half a letter, which no file can: write valid Unicode.")
    # A column of whole numbers with a gap holds floats.
    return as_text(int(value) if isinstance(value, float) and value.is_integer() else value)


def as_texts(value: Any) -> list[str | None] | None:
    """`as_cell` of each value of a list, also one that a table of texts holds as JSON or Python write it; else None.

    Raises:
        ValueError: If one of them is neither text nor a number, or no commas part them.
    """
    if isinstance(value, str) and value.strip().startswith("[") and value.strip().endswith("]"):
        value = written_value(value.strip())
    return [as_cell(one) for one in value] if isinstance(value, list | tuple) else None


def written_value(text: str) -> Any:
    """What JSON or Python read in a text; None where it is a text like any other, such as "[18F]FDG-PET [late]".

    Raises:
        ValueError: If it is a list without commas, or a dictionary has a key twice.
    """
    if "{" in text:
        _check_keys(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    # Python joins texts that stand side by side, and so does numpy write a list.
    tokens = [token.type for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type != tokenize.NL]
    if any(one == other == tokenize.STRING for one, other in itertools.pairwise(tokens)):
        raise ValueError(f"{shown(text)} is a list without commas: write it as ['one', 'two'].")
    return found


def _check_keys(text: str) -> None:
    """Refuse a dictionary, JSON's or Python's, of which the last of two values of one key would be kept."""
    try:
        tree = ast.parse(text, mode="eval")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            if repeated := [key for key in keys if keys.count(key) > 1]:
                raise ValueError(f"{shown(text)} has {shown(repeated[0])} twice: keep one.")


def as_question(value: Any) -> str:
    """The text of a question.

    Raises:
        ValueError: If it is empty or no text.
    """
    text = as_cell(value)
    if text is None:
        raise ValueError(f"the question is empty ({shown(value)}): every row needs one.")
    return text


def as_answer(value: Any) -> str | list[str] | None:
    """The text of an answer as the file writes it, None where it is unknown; a list where several are right.

    A list of one answer is that answer; what is written twice or is empty in a list counts for nothing.

    Raises:
        ValueError: If one holds no word or number, so that nothing could be learned or compared, or is a list itself,
            or a list has none.
    """
    # Numbers in brackets, as of a box, are a text like any other.
    in_brackets = isinstance(value, str) and not {"'", '"'} & set(value)
    if not in_brackets and (several := as_texts(value)) is not None:
        answers = list(dict.fromkeys(text for text in several if text is not None))
        if wordless := [text for text in answers if not normal_form(text)]:
            raise ValueError(f"the answer {shown(wordless[0])} holds no word or number: leave it out of the list.")
        if not answers:
            raise ValueError("the list of answers is empty: leave the cell empty, or write null, if none is known.")
        return answers if len(answers) > 1 else answers[0]
    text = as_cell(value)
    if text is not None and not normal_form(text):
        raise ValueError(f"the answer {shown(text)} holds no word or number: leave it empty if it is unknown.")
    return text


def as_image_name(value: Any) -> str:
    """The name of an image's file.

    Raises:
        ValueError: If there is none.
    """
    text = as_cell(value)
    if text is None or "\0" in text:
        raise ValueError(f"the image is {shown(value)}: every row needs the path of one.")
    return text


def as_image_names(value: Any) -> list[str]:
    """The names of the files of a question's images: a list (`as_texts`), or a text with `VIEW_SEPARATOR` between them.

    Raises:
        ValueError: If one is missing, or there are more than `MAX_VIEWS`.
    """
    names = as_texts(value) or value
    if isinstance(names, str) and VIEW_SEPARATOR in names:
        names = [name.strip() for name in names.split(VIEW_SEPARATOR)]
    if not isinstance(names, list | tuple):
        return [as_image_name(names)]
    if not 0 < len(names) <= MAX_VIEWS:
        raise ValueError(f"the images are {shown(value)}: every row needs 1 to {MAX_VIEWS}.")
    return [as_image_name(name) for name in names]


def as_image_id(value: Any, number: int) -> str | None:
    """The id of a row's images, where the table gives one: a text, or a list with one for each of `number` images.

    Raises:
        ValueError: If it is a list of another length, or its ids cannot be told apart once they are joined.
    """
    if not isinstance(value, list | tuple):
        return as_cell(value)
    ids = [as_cell(own) for own in value]
    if len(ids) != number or any(own is None or VIEW_SEPARATOR in own for own in ids):
        raise ValueError(
            f"the image ids are {shown(value)}: give as many as the row has images, {number}, without {VIEW_SEPARATOR}."
        )
    return VIEW_SEPARATOR.join(map(str, ids))


def as_answer_type(value: Any) -> str | None:
    """ "open", "closed" or None, whatever the file's capitals and blanks.

    Raises:
        ValueError: If it is any other word, so that a wrong column does not pass for an answer type.
    """
    text = as_cell(value)
    if text is None:
        return None
    answer_type = text.strip().lower()
    if answer_type not in ANSWER_TYPES:
        raise ValueError(
            f"answer_type {shown(text)} is none of {', '.join(ANSWER_TYPES)}: of your own data, name another column "
            "with answer_type_column, or leave this one out with ignore_columns."
        )
    return answer_type


def build_vqa_dataset(rows: Sequence[Mapping[str, Any]], extra_columns: Iterable[str] = ()) -> Dataset:
    """A data set in the schema's features, with `extra_columns` (text) behind them, and `choices` where a row has any.

    Where a row has several right answers, or a list of images, those of all rows are lists. Images given as paths are
    stored as paths: nothing is opened here. A column that a row lacks is None.
    """
    features = Features({**VQA_FEATURES, **{name: Value("string") for name in extra_columns}})
    if any(row.get("choices") for row in rows):
        features["choices"] = TEXTS
    if any(isinstance(row.get("image"), list) for row in rows):
        features["image"] = IMAGES
    if any(isinstance(row.get("answer"), list) for row in rows):
        features["answer"] = TEXTS
    parts = [_in_arrow(rows[start : start + _ROWS_AT_ONCE], features) for start in range(0, len(rows), _ROWS_AT_ONCE)]
    return concatenate_datasets(parts) if len(parts) > 1 else (parts or [_in_arrow([], features)])[0]


def _in_arrow(rows: Sequence[Mapping[str, Any]], features: Features) -> Dataset:
    columns = {name: [row.get(name) for row in rows] for name in features}
    if features["image"] == IMAGES:
        columns["image"] = [image if isinstance(image, list) else [image] for image in columns["image"]]
    if features["answer"] == TEXTS:
        columns["answer"] = list(map(as_list, columns["answer"]))
    return Dataset.from_dict(columns, features=features)


def as_list(answer: str | list[str] | None) -> list[str] | None:
    """One right answer as the list that several are; None where it is unknown."""
    return [answer] if isinstance(answer, str) else answer


def as_one(answer: str | list[str] | None) -> str | list[str] | None:
    """A list of one right answer as that answer."""
    return answer[0] if isinstance(answer, list) and len(answer) == 1 else answer


def with_joined_answers(rows: Dataset) -> Dataset:
    """Rows whose several right answers are one text, `joined_answers`; a single answer stays as it is written."""
    columns, answers = rows.column_names, [as_one(answer) for answer in rows["answer"]]
    sets = [isinstance(answer, list) or ANSWER_SEPARATOR.strip() in (answer or "") for answer in answers]
    texts = [joined_answers(answer or "") if several else answer for answer, several in zip(answers, sets, strict=True)]
    joined = rows.remove_columns("answer").add_column("answer", texts, feature=Value("string"))
    return joined.select_columns(columns)


def with_alike_answers(parts: Sequence[Dataset]) -> list[Dataset]:
    """Rows whose answers are lists in all parts where they are in one, so that the parts can be joined."""
    if not any(part.features.get("answer") == TEXTS for part in parts):
        return list(parts)
    alike = []
    for part in parts:
        if part.features.get("answer") not in (None, TEXTS):
            columns, answers = part.column_names, list(map(as_list, part["answer"]))
            part = part.remove_columns("answer").add_column("answer", answers, feature=TEXTS).select_columns(columns)
        alike.append(part)
    return alike


def compare_counts(reader: str, found: Mapping[str, int], published: Mapping[str, int], strict: bool) -> None:
    """Say which splits differ from `published`, as in "vqa_rad train: 2999 rows, published 3064".

    Raises:
        ValueError: If `strict` and a split differs or is absent; otherwise the differences are logged as a warning.
    """
    differences = [
        f"{reader} {split}: {found.get(split, 0)} rows, published {rows}"
        for split, rows in published.items()
        if found.get(split, 0) != rows
    ]
    if not differences:
        return
    if strict:
        raise ValueError("; ".join(differences))
    for difference in differences:
        logger.warning(difference)


def kind_columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which of modality and organ any of the rows names; none where the data do not say."""
    rows = list(rows)
    return [column for column in KIND_COLUMNS if any(row.get(column) for row in rows)]


def kind_of(row: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, ...] | None:
    """The values of `columns`, those of `kind_columns`; None where one is missing, so that the kind is not known."""
    values = tuple(value for column in columns if (value := row.get(column)))
    return values if values and len(values) == len(columns) else None
