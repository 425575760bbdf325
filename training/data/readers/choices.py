"""A question's own candidates, as tables write them: one column of lists, or a column for each option."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from transformers.utils import logging

from ..references import normal_form
from ..schema import as_cell, written_value
from ..shown_values import shown

logger = logging.get_logger(__name__)

# Hold all choices of a row.
_COLUMNS_OF_ALL = ("choices", "options")

# "A", "option_a", "Option A", "ChoiceA"; a single small letter may be anything, as "a" for answers.
_OPTION_COLUMN = re.compile(r"(?i:(option|choice)[ _-]?([a-z]))|([A-Z])")


def choice_columns(present: Collection[str], taken: Collection[str] = ()) -> tuple[str, ...]:
    """The columns of a table that hold its choices: `choices` or `options`, or those of A, B, .. in their order.

    Options are single capital letters, or letters behind "option" or "choice", without a gap from A to B at least.

    Args:
        present: The table's columns.
        taken: Those that the caller has named for something else.

    Raises:
        ValueError: If choices stand in more than one of these ways.
    """
    families: dict[str, dict[str, str]] = {}
    for name in present:
        if name not in taken and (found := _OPTION_COLUMN.fullmatch(name)):
            families.setdefault((found[1] or "").lower(), {}).setdefault((found[2] or found[3]).upper(), name)
    ways = [(name,) for name in _COLUMNS_OF_ALL if name in present and name not in taken]
    for options in families.values():
        number = next(n for n, letter in enumerate((*ascii_uppercase, "")) if letter not in options)
        ways += [tuple(options[letter] for letter in ascii_uppercase[:number])] if number > 1 else []
    if len(ways) > 1:
        both = " and in ".join(", ".join(map(repr, way)) for way in ways)
        raise ValueError(f"the choices stand in {both}: rename or leave out the columns that are not meant.")
    return ways[0] if ways else ()


@dataclass
class ChoiceReader:
    """Reads the choices of a table's rows, and its answers among them.

    Args:
        columns: Those of `choice_columns`.

    Attributes:
        labelled: How many rows had choices that begin with their letters, "A: text", which were taken off.
        named: How many answers were the letter of a choice, and became its text.
    """

    columns: tuple[str, ...]
    labelled: int = 0
    named: int = 0

    def read(
        self, row: Mapping[str, Any], answer: str | list[str] | None
    ) -> tuple[list[str] | None, str | list[str] | None]:
        """The choices of a row, None where it has none, and its answer, the text of a choice where it was a letter.

        Raises:
            ValueError: If they are no texts, fewer than two of them differ, or an answer is none of them.
        """
        listed = len(self.columns) == 1
        cells = _all_of(row.get(self.columns[0])) if listed else [row.get(column) for column in self.columns]
        texts = [as_cell(cell) for cell in cells]
        by_letter = {letter: text for letter, text in zip(ascii_uppercase, texts, strict=False) if text is not None}
        choices = [text for text in texts if text is not None]
        if not choices:
            return None, answer
        # A list that was shuffled with its letters: these say which is which, not the places.
        own = {match[1]: text for text in choices if (match := re.match(r"\s*\(?([A-Z])\s*[:.)]", text))}
        if listed and own.keys() == by_letter.keys():
            by_letter = own
        if len(plain := _without_letters(by_letter)) == len(choices):
            choices, by_letter = list(plain.values()), plain
            self.labelled += 1
        forms = [normal_form(choice) for choice in choices]
        if not all(forms):
            raise ValueError(f"the choice {shown(choices[forms.index('')])} holds no word or number: leave it out.")
        if len(set(forms)) < 2:
            raise ValueError(f"the choices are {shown(choices)}: give two that differ, or none.")
        if isinstance(answer, list):
            return choices, [self._among(one, by_letter, forms) for one in answer]
        return choices, answer and self._among(answer, by_letter, forms)

    def report(self, source: object) -> None:
        """Say aloud which columns were read, and what was made of letters."""
        if not self.columns:
            return
        letters = f" Letters before {self.labelled} rows' choices were taken off." if self.labelled else ""
        named = f" {self.named} answers were the letter of a choice and became its text." if self.named else ""
        logger.warning(f"{source}: each question's choices are read from {', '.join(self.columns)}.{letters}{named}")

    def _among(self, answer: str, by_letter: Mapping[str, str], forms: Collection[str]) -> str:
        """The answer where it is one of the choices, or the choice that its letter names.

        Raises:
            ValueError: If it is neither.
        """
        form = normal_form(answer)
        if form in forms:
            return answer
        letter = form[:1].upper()
        named, behind = by_letter.get(letter), _without_letters({letter: answer}).get(letter)
        if named is None or (form.upper() != letter and (behind is None or normal_form(behind) != normal_form(named))):
            raise ValueError(
                f"the answer {shown(answer)} is none of the choices {shown(list(by_letter.values()))}: write one of "
                "them, or its letter."
            )
        self.named += 1
        return named


def _all_of(cell: Any) -> Sequence[Any]:
    """The choices in one cell: a list, or a dictionary by letters, also one that a table of texts holds.

    Raises:
        ValueError: If it is neither, nor empty.
    """
    written = written_value(cell.strip()) if isinstance(cell, str) and cell.strip()[:1] in ("[", "{") else cell
    if isinstance(written, Mapping):
        by_letter = {str(name).strip().upper(): text for name, text in written.items()}
        if len(by_letter) == len(written) and by_letter.keys() <= set(ascii_uppercase):
            return [by_letter.get(letter) for letter in ascii_uppercase]
    elif isinstance(written, list | tuple):
        return written
    elif as_cell(cell) is None:
        return []
    raise ValueError(
        f"the choices are {shown(cell)}: give a list, a dictionary by the letters A, B, C and so on, or a column for "
        "each; or leave the column out with ignore_columns."
    )


def _without_letters(by_letter: Mapping[str, str]) -> dict[str, str]:
    """Of texts such as "A: text", "B) text" or "(C) text" those behind their own letters; others are left out."""
    found = {
        letter: re.fullmatch(rf"\s*\(?{letter}\s*[:.)]\s*(.*\S)\s*", text, re.DOTALL)
        for letter, text in by_letter.items()
    }
    return {letter: match[1] for letter, match in found.items() if match}
