"""Errors of scripts: one line where we raise them on purpose, a traceback where nobody did."""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging

from amif.training.argument_checks import COUNT, check_bounds
from amif.training.command_line import DataclassParser, plain_errors
from amif.training.data.streams import RowStream
from amif.training.recipes import absolute_paths, parse_arguments, read_recipe


@dataclass
class Arguments:
    """What is counted."""

    file: str = field(metadata={"help": "Of what."})
    number: int = field(default=3, metadata={"help": "How many; 100 %% is all."})
    seed: int = field(default=0, metadata={"help": "Which."})
    is_new: bool = field(default=True, metadata={"help": "Whether."})
    words: list[str] = field(default_factory=list, metadata={"help": "Of what, too."})

    def __post_init__(self):
        check_bounds(self, {"number": COUNT})


HELP = """\
usage: count.py --file ... [--NAME VALUE ...]

Count.

What one needs first:
  --file TEXT           Of what.
  --seed INT            Which. (default: 0)

What is counted:
  --number INT          How many; 100 % is all. (default: 3)
  --is_new [true|false]
                        Whether. (default: True)
  --words TEXT [TEXT ...]
                        Of what, too.

Help:
  -h                    show this help message and exit
  --debug               show the traceback of an error
"""


@pytest.fixture
def _bars_as_before():
    yield
    logging.enable_progress_bar()


@pytest.mark.usefixtures("_bars_as_before")
@pytest.mark.parametrize("hub_shows", [True, False])
def test_a_script_shows_no_bars_for_files_of_weights_and_those_of_downloads_as_before(hub_shows):
    logging.enable_progress_bar()
    (enable_progress_bars if hub_shows else disable_progress_bars)()
    with plain_errors():
        assert not logging.is_progress_bar_enabled()
        assert are_progress_bars_disabled() is not hub_shows


@pytest.fixture
def words(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *words: monkeypatch.setattr(sys, "argv", ["count.py", *words])


def test_help_begins_with_what_is_required(words):
    words()
    assert DataclassParser([Arguments], "Count.").format_help() == HELP


def test_debug_leaves_no_value_and_shows_the_error_itself(words, capsys):
    words("--file", "a", "--debug")
    assert parse_arguments(Arguments, None) == Arguments("a")
    words("--file", "a", "--number", "0")
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(Arguments, None)
    assert capsys.readouterr().err == "count.py: error: --number 0: give at least 1.\n"
    words("--file", "a", "--number", "0", "--debug")
    with pytest.raises(ValueError, match="--number 0: give at least 1"):
        parse_arguments(Arguments, None)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda: read_recipe("nowhere.yaml"), "the recipe nowhere.yaml cannot be read: No such file or directory."),
        (Path("nowhere").stat, "[Errno 2] No such file or directory: 'nowhere'"),
        (lambda: __import__("nowhere"), "No module named 'nowhere'"),
    ],
)
def test_what_a_user_can_change_is_one_line(words, capsys, what, said):
    words()
    with pytest.raises(SystemExit, match="1"), plain_errors():
        what()
    assert capsys.readouterr().err == f"count.py: error: {said}\n"
    words("--debug")
    with pytest.raises((OSError, ImportError, ValueError), match=re.escape(said)), plain_errors():
        what()


def _tell_of_nothing():
    raise ValueError(f"wrong: {[][0]}")  # an IndexError, in a line that raises


@pytest.mark.parametrize(
    "what",
    [
        lambda: {}["a"],
        lambda: int("a"),  # a ValueError that nobody raised on purpose
        lambda: absolute_paths(None),  # an AttributeError in a line of ours
        lambda: RowStream(None).item({}, 0),  # of a class that left out what it has to write
        _tell_of_nothing,
    ],
)
def test_what_nobody_foresaw_keeps_its_traceback(words, monkeypatch, what):
    words()
    monkeypatch.setitem(globals(), "__name__", "__main__")
    with pytest.raises((LookupError, ValueError, AttributeError, NotImplementedError)), plain_errors():
        what()
