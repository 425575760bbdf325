"""CSV as people's programs write it, each row with as many cells as the header, or with what is wrong with it."""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..shown_values import shown

logger = logging.get_logger(__name__)

_IMAGE_NAME = re.compile(r"\.[a-z0-9]{2,5}$", re.IGNORECASE)

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

_USUAL = {".tsv": "\t"}

# An image in base64 may be long. Any other cell that is longer than Python's limit comes of an unclosed quote.
_LONGEST_CELL = 1 << 28
_BASE64 = re.compile(r"(data:[^,]*,)?[a-z0-9+/=\r\n]*", re.IGNORECASE)


def read_text(file: Path | zipfile.Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; of one that ends in .gz, the text within.

    Raises:
        ValueError: If it is UTF-16 or another encoding, holds zero bytes, or is no whole gzip file though named so.
    """
    content = file.read_bytes()
    if file.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file} cannot be unpacked ({error}): download it again.") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{file} is text in UTF-16 (as Excel's 'Unicode text'): save it as UTF-8.")
    if (zero := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, zero) + 1
        raise ValueError(f"{file}: line {line} holds a zero byte, which no text has: save it as text in UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}: line {line} is no UTF-8 (byte {error.start}): save the file as UTF-8.") from None


def read_csv(file: Path) -> list[dict[Any, Any]]:
    """The rows of a CSV file by its header; a row that does not fit the header has the reason under the key None.

    Not through pandas, to which the answers "None" and "NA" are missing values and the image "007" is 7. Empty lines,
    rows of empty cells and empty cells behind the last column, as spreadsheets write them, are passed over.

    What separates the cells, commas, semicolons, tabs or vertical bars, is seen in the header, and is said where it is
    not what the file's name says.

    Raises:
        ValueError: If the file is no CSV in UTF-8, has no rows, or a quote is not closed.
    """
    text = read_text(file)
    separator = _separator(file, text)
    if separator != _USUAL.get(file.suffix.lower(), ","):
        logger.warning(f"{file} is read as separated by {_SEPARATORS[separator]}, as its header shows.")
    records = _records(file, text, separator)
    names = _header(file, records)
    rows, empty = [], 0
    for line, cells in records:
        if not any(cell.strip() for cell in cells):
            empty += len(cells) > 1
            continue
        while len(cells) > len(names) and not cells[-1].strip():
            cells.pop()
        row: dict[Any, Any] = dict(zip(names, cells, strict=False))
        if reason := _fault(cells, names, separator):
            row[None] = f"line {line} {reason}"
        rows.append(row)
    if empty:
        logger.warning(f"{file}: {empty} rows of empty cells are passed over.")
    if not rows:
        raise ValueError(f"{file} holds a header ({', '.join(names)}) and no rows.")
    return rows


def _separator(file: Path, text: str) -> str:
    """What separates the header's names: what the file's name says, unless another sign divides them into more."""
    header = next((line for line in io.StringIO(text) if line.strip(" ,;|\t\r\n")), "")
    usual = _USUAL.get(file.suffix.lower(), ",")
    # A name may hold a comma, and hardly a tab.
    named = header.count(usual) if usual == "," or "\t" not in header else len(header)
    return next((sign for sign in _SEPARATORS if header.count(sign) > named), usual)


def _records(file: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line on which it begins, counted from 1."""
    # Strict, for otherwise what follows a closing quote is joined to it, and an unclosed quote takes all that follows.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    # The limit is Python's own for all readers.
    usual = csv.field_size_limit()
    while True:
        line = reader.line_num + 1
        csv.field_size_limit(_LONGEST_CELL)
        try:
            record = next(reader)
            if any(len(cell) > usual and not _BASE64.fullmatch(cell) for cell in record):
                raise csv.Error("field limit")
        except StopIteration:
            return
        except csv.Error as error:
            if "field limit" in str(error):
                reason = f"a cell is longer than {usual:,} characters, and no image in base64"
            elif "unexpected end" in str(error):
                reason = "a quote is opened and never closed"
            else:
                reason = f"{error}, on line {reader.line_num}"
            raise ValueError(
                f"{file} cannot be read as CSV: in the row that begins on line {line}, {reason}. Is a quote missing? A "
                'text that holds the separator or a quote stands in quotes, with each quote of its own doubled ("").'
            ) from None
        finally:
            csv.field_size_limit(usual)
        yield line, record


def _header(file: Path, records: Iterator[tuple[int, list[str]]]) -> list[str]:
    names = next((cells for _, cells in records if any(cell.strip() for cell in cells)), None)
    if names is None:
        raise ValueError(f"{file} is empty: give a header with the columns' names, and rows.")
    while not names[-1].strip():
        names.pop()
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        named = ", ".join(map(shown, repeated))
        raise ValueError(f"{file} cannot be read as CSV: its header repeats {named}: keep one column of each name.")
    return names


def _fault(cells: Sequence[str], names: Sequence[str], separator: str) -> str | None:
    if len(cells) > len(names):
        surplus = shown(cells[len(names) :])
        return (
            f"has {len(cells)} cells and the header {len(names)}: {surplus} stand behind the last column: quote texts "
            "that hold the separator."
        )
    if len(cells) < len(names):
        return (
            f"has {len(cells)} cells and the header {len(names)}: write an empty cell for what is unknown, and look "
            "for a missing separator or quote."
        )
    for place, cell in enumerate(cells):
        for inner in re.split(r"[\r\n]+", cell)[1:]:
            if _looks_like_a_row(inner.split(separator), cells[:place], len(names)):
                return f"holds another row in one cell, {shown(inner)}: close the quote before it."
    return None


def _looks_like_a_row(inner: Sequence[str], before: Sequence[str], number: int) -> bool:
    """Whether a line within a cell has the header's number of cells and a file's name where its row has one."""
    if len(inner) != number:
        return False
    pairs = [(_IMAGE_NAME.search(own), _IMAGE_NAME.search(other)) for own, other in zip(before, inner, strict=False)]
    return any(own and other and own[0].lower() == other[0].lower() for own, other in pairs)
