"""The commands that README and docs show, read from the pages, for the tests that parse and run them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile
from pathlib import Path

from amif_command import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Dated notes: what they say was run once, for hours, on data that is not here.
NOTES = sorted((ROOT / "docs" / "experiments").glob("*.md"))
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python|accelerate launch|torchrun|amif) [^`]+)`")
SCRIPT = re.compile(r"examples/\w+\.py")


@dataclass(frozen=True)
class Command:
    """A line of a page as a shell takes it.

    Attributes:
        page: Where it stands.
        line: All of it, on one line, without a comment.
        script: The file of examples/ that it starts; None where it starts something else.
        words: What it gives to the script; where that is recipes alone and "...", with the options of the page's first.
    """

    page: Path
    line: str
    script: str | None
    words: tuple[str, ...]


def python_of(page: Path) -> list[str]:
    """The blocks of Python of a page."""
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language == "python"]


def commands_of(page: Path) -> list[Command]:
    """Every command of a page's blocks of no language, and those within sentences that start a script."""
    found = [command for line in _lines(page.read_text(encoding="utf-8")) if (command := _command(page, line))]
    return [_whole(command, found) for command in found]


def _lines(text: str) -> Iterator[str]:
    for language, block in BLOCK.findall(text):
        if language in ("", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from line.split("&&")
    for line in INLINE.findall(BLOCK.sub("", text)):
        if len(line.split()) > 2 and (SCRIPT.search(line) or line.startswith("amif ")):
            yield line


def _command(page: Path, line: str) -> Command | None:
    # What is in brackets a reader may leave out. Notes hold code of other kinds too.
    if page in NOTES and not SCRIPT.search(line):
        return None
    words = shlex.split(re.sub(r" \[--.*\]", "", line), comments=True)
    if not words:
        return None
    line = shlex.join(words)
    if words[0] == "amif" and words[1] in COMMANDS:
        return Command(page, line, f"{COMMANDS[words[1]][0]}.py", tuple(words[2:]))
    if script := next((word for word in words if SCRIPT.fullmatch(word)), None):
        return Command(page, line, script.removeprefix("examples/"), tuple(words[words.index(script) + 1 :]))
    return Command(page, line, None, ())


def _whole(command: Command, of_page: Sequence[Command]) -> Command:
    if "..." not in command.words:
        return command
    words = tuple(word for word in command.words if word != "...")
    first = next((other for other in of_page if other.script == command.script and "..." not in other.words), None)
    if first is not None and not any(word.startswith("--") for word in words):
        words += tuple(dropwhile(lambda word: not word.startswith("--"), first.words))
    return replace(command, words=words)
