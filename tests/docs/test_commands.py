"""Every command of the pages: its script is there, and takes each of its options and values."""

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import HfArgumentParser

from amif.training import recipes
from amif_command import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# What stands for a number in a page.
NUMBERS = {"SEED": "42", "SIZE": "8", "N": "2"}


class ParsedError(Exception):
    """The script has read its command line, and would go to work."""


def commands_of(page: Path) -> Iterator[list[str]]:
    """The script and the words behind it of every command in a page's blocks."""
    # Blocks of no language; each begins with a fence and ends with one.
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for block in (text for language, text in blocks if language in ("", "bash")):
        for line in block.replace("\\\n", " ").splitlines():
            for command in line.split("&&"):
                if not re.search(r"examples/\w+\.py|^\s*amif ", command):
                    continue
                words = shlex.split(command, comments=True)
                if "..." in words:  # what another command of the page goes on with
                    continue
                if words[:1] == ["amif"] and words[1:2] and words[1] in COMMANDS:
                    yield [f"examples/{COMMANDS[words[1]][0]}.py", *words[2:]]
                if script := next((word for word in words if re.fullmatch(r"examples/\w+\.py", word)), None):
                    yield [script, *words[words.index(script) + 1 :]]


def all_commands() -> list:
    found = [(page, command) for page in PAGES for command in commands_of(page)]
    return [pytest.param(command, id=f"{page.stem} {place}") for place, (page, command) in enumerate(found)]


@pytest.fixture
def stopped_when_parsed(monkeypatch):
    def stop_behind(function):
        def stopped(*args, **options):
            function(*args, **options)
            raise ParsedError

        return stopped

    parse_args = argparse.ArgumentParser.parse_args

    def parse(parser, *args, **options):
        found = parse_args(parser, *args, **options)
        if isinstance(parser, HfArgumentParser):  # amif's own functions read with it, several times
            return found
        raise ParsedError

    monkeypatch.setattr(recipes, "parse_with_recipe", stop_behind(recipes.parse_with_recipe))
    monkeypatch.setattr(recipes, "parse_arguments", stop_behind(recipes.parse_arguments))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)


@pytest.mark.parametrize("command", all_commands())
def test_a_script_takes_the_words_of_the_page(command, stopped_when_parsed, monkeypatch):
    script, *words = command
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [script, *(NUMBERS.get(word, word) for word in words)])
    with pytest.raises(ParsedError):
        runpy.run_path(script, run_name="__main__")


def test_the_readmes_commands_are_among_them():
    assert len(list(commands_of(ROOT / "README.md"))) >= 9
