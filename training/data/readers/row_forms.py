"""Rows of other tools' forms as rows of one question each: LLaVA's conversations and VLMEvalKit's tables."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..shown_values import shown
from .image_places import image_in_base64
from .table_files import TableRow, column_names

logger = logging.get_logger(__name__)

CONVERSATIONS = "conversations"

# Who asks and who answers, in turn.
_SPEAKERS = ({"human", "user"}, {"gpt", "assistant"})

_IMAGE_MARK = re.compile(r"\s*<image>\s*")


def with_questions(name: Path | str, table: list[TableRow], columns: Mapping[str, str]) -> list[TableRow]:
    """The rows of a file, of which each conversation becomes a row for each question in it.

    A conversation is LLaVA's: a list of turns `{"from": "human", "value": "<image>\\nIs it?"}` and
    `{"from": "gpt", "value": "Yes."}` about the image of its row. Its `id` becomes the question's id, with `|2`, `|3`
    behind it for the further ones. A last turn that nobody answers is a question without an answer.

    Args:
        name: The file's name, for messages.
        table: Its rows.
        columns: What the rows call `image`, `question` and `answer`.
    """
    if CONVERSATIONS not in (present := column_names(table)) or columns["question"] in present:
        return table
    rows = [part for row in table for part in _turns(row, columns)]
    logger.warning(
        f"{name}: {len(table)} conversations are read as {len(rows)} questions, and messages count these as rows."
    )
    return rows


def _turns(row: TableRow, columns: Mapping[str, str]) -> list[TableRow]:
    if not isinstance(row, Mapping):
        return [row]
    others = {name: cell for name, cell in row.items() if name not in (CONVERSATIONS, "id")}
    try:
        values = _values(row.get(CONVERSATIONS))
    except ValueError as error:
        # As a row of CSV that does not fit its header.
        return [others | {columns["question"]: None, None: f"conversation {shown(row.get('id'))}: {error}"}]
    made = []
    for place in range(0, len(values), 2):
        asked, answered = values[place], values[place + 1 : place + 2]
        own: TableRow = {columns["question"]: _IMAGE_MARK.sub(" ", asked).strip()}
        if "answer" in columns:
            own[columns["answer"]] = answered[0] if answered else None
        if row.get("id") is not None:
            own["question_id"] = f"{row['id']}|{place // 2 + 1}" if place else str(row["id"])
        made.append(others | own)
    return made


def _values(turns: Any) -> list[str]:
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"{shown(turns)} is no list of turns.")
    values = []
    for place, turn in enumerate(turns):
        speakers = _SPEAKERS[place % 2]
        if not isinstance(turn, Mapping) or turn.get("from") not in speakers or not isinstance(turn.get("value"), str):
            wanted = " or ".join(sorted(speakers))
            raise ValueError(
                f"turn {place} (counted from 0) is {shown(turn)}: give a text `value` and `from` as {wanted}, for "
                "questions and answers alternate."
            )
        values.append(turn["value"])
    return values


def with_shared_images(table: list[TableRow], image_column: str) -> list[TableRow]:
    """The rows of VLMEvalKit's table, whose `index` becomes the question's id, each with its image in base64.

    Such a table writes an image that several rows show once, and elsewhere the index of the row that has it.

    Args:
        table: Its rows; those of any other table are returned as they are.
        image_column: The column of images.
    """
    rows = [row for row in table if isinstance(row, Mapping)]
    if not rows or "index" not in rows[0] or not _is_in_base64(rows[0].get(image_column)):
        return table
    images = {str(row.get("index")): row.get(image_column) for row in rows}
    own = "question_id" if "question_id" not in rows[0] else "index"
    return [
        {own if name == "index" else name: cell for name, cell in row.items()}
        | {image_column: images.get(str(row.get(image_column)), row.get(image_column))}
        for row in rows
    ]


def _is_in_base64(cell: Any) -> bool:
    try:
        return isinstance(cell, str) and image_in_base64(cell) is not None
    except ValueError:
        return False
