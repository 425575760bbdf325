"""The command line of the scripts: its help, what one needs first on top, and errors in one line."""

import argparse
import inspect
import linecache
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool
from transformers.utils.logging import disable_progress_bar

# What one needs first, in this order, where a script has it; what is required stands above.
FIRST = (
    *("dataset", "data_dir", "model_name_or_path", "vision_model", "text_model", "objective", "stage", "teacher"),
    *("output_dir", "num_train_epochs", "per_device_train_batch_size", "learning_rate", "seed", "protocol"),
)
_OF_TRAINER = "transformers' Trainer"

# What this package raises on purpose. Others can begin in a `raise` too, where the message cannot be put together.
_ON_PURPOSE = (ValueError, TypeError, RuntimeError, MemoryError)

# Of several processes the first says what is wrong, and its launcher then ends the others: they wait for that long.
_SECONDS_TO_BE_ENDED = 5.0


@contextmanager
def plain_errors() -> Iterator[None]:
    """End a script with one line and status 1 where an error tells what to change; for `main`, as a decorator.

    Those are errors that this package raises on purpose, so that the line where they begin is a `raise` of ours; those
    of the system and of files; and missing libraries. Others keep their traceback, and with `--debug` all do.
    transformers shows no bars for reading and writing weights.
    """
    _hide_bars_of_weights()
    try:
        yield
    except (OSError, ImportError) as error:
        end_with(error, 1)
    except Exception as error:
        *_, (frame, line) = traceback.walk_tb(error.__traceback__)
        raised = linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
        ours = frame.f_globals.get("__name__", "").partition(".")[0] in ("amif", "__main__")
        if not (raised and ours and isinstance(error, _ON_PURPOSE)) or isinstance(error, NotImplementedError):
            raise
        end_with(error, 1)


def _hide_bars_of_weights() -> None:
    hub_shows_its_own = not are_progress_bars_disabled()
    disable_progress_bar()
    if hub_shows_its_own:  # of downloads, which take longer; the line above ends them too
        enable_progress_bars()


def end_with(error: Exception, status: int) -> NoReturn:
    """End the script with the error's message, once however many processes there are; to be called where it is caught.

    Raises:
        SystemExit: If there is no `--debug`.
        Exception: If the command line has `--debug`: the error itself.
    """
    if "--debug" in sys.argv:
        raise error
    if int(os.environ.get("RANK", "0")) > 0:
        time.sleep(_SECONDS_TO_BE_ENDED)
    print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
    raise SystemExit(status) from error


def only_process() -> None:
    """Check that a launcher did not start this script several times over: each would do the same in the same folder.

    Raises:
        ValueError: If it did.
    """
    if (processes := int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) > 1:
        raise ValueError(
            f"{processes} processes were started, and this script runs in one, on one GPU or the CPU: start it with "
            "python. Those that train (run_vqa.py, run_pretraining.py) run in several."
        )


def import_models() -> None:
    """Run what `import amif` runs, all models, where a script has put it off until its arguments were read."""
    package = sys.modules[__name__.partition(".")[0]]
    if not hasattr(package, "__version__"):
        assert package.__spec__ is not None
        assert package.__spec__.loader is not None
        package.__spec__.loader.exec_module(package)


class DataclassParser(HfArgumentParser):
    """A parser of dataclasses with a short help, which raises its errors for the caller to say whose words they are.

    The help begins with `FIRST`, goes on by the classes that bring the other arguments, under the first lines of their
    docstrings, and leaves those of transformers' Trainer to `--help_all`.
    """

    def __init__(self, dataclass_types: Sequence[Any], description: str | None = None, takes_recipes: bool = False):
        super().__init__(dataclass_types, description=description, formatter_class=_HelpFormatter)  # pyright: ignore[reportArgumentType]  # its stub takes a NewType alone
        words = ["[RECIPE.yaml ...]"] if takes_recipes else []
        words += [f"{action.option_strings[0]} ..." for action in self._actions if action.required]
        self.usage = " ".join(["%(prog)s", *words, "[--NAME VALUE ...]"])
        self.hidden = len(dict(self._sections()).get(_OF_TRAINER, []))
        if self.hidden:
            self.add_argument("--help_all", "--help-all", action=_HelpAll, help="show the Trainer's arguments too")
        if trainers := self._option_string_actions.get("--debug"):
            trainers.nargs, trainers.const = "?", ""
        else:
            self.add_argument("--debug", action=_Noted, help="show the traceback of an error")

    def error(self, message: str) -> NoReturn:
        """Raise a ValueError of what argparse would print."""
        raise ValueError(message)

    def format_help(self, whole: bool = False) -> str:
        """The help, with the Trainer's arguments or, by default, without."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, [])
        formatter.add_text(self.description)
        for title, actions in self._sections():
            if whole or title != _OF_TRAINER:
                formatter.start_section(title)
                formatter.add_arguments(actions)
                formatter.end_section()
        if self.hidden and not whole:
            formatter.add_text(
                f"--help_all lists {self.hidden} more, those of {_OF_TRAINER}: steps, precision, schedules, logging.\n"
                "--debug shows the traceback of an error."
            )
        return formatter.format_help()

    def _sections(self) -> list[tuple[str, list[argparse.Action]]]:
        """Titles with their arguments; of a boolean, which has a --no_ form too, the one that takes a value."""
        # No class of these comes of transformers' where nobody has imported that, which takes seconds.
        trainer = sys.modules.get("transformers.training_args")
        owners = () if trainer is None else trainer.TrainingArguments.__mro__
        titles = {
            name: _OF_TRAINER if owner in owners else (owner.__doc__ or "").partition("\n")[0]
            for kind in self.dataclass_types
            for owner in kind.__mro__
            for name in inspect.get_annotations(owner)
        }
        actions: dict[str, argparse.Action] = {}
        for action in self._actions:
            actions.setdefault(action.dest, action)
        needed = [name for name, action in actions.items() if action.required]
        sections = {"What one needs first": [actions.pop(name) for name in (*needed, *FIRST) if name in actions]}
        for name, action in actions.items():
            sections.setdefault(titles.get(name, "Help").rstrip("."), []).append(action)
        for last in (_OF_TRAINER, "Help"):
            sections[last] = sections.pop(last, [])
        return list(sections.items())


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """One name an argument, its kind in place of the name again, and no default where there is none."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        values = "" if action.nargs == 0 else self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{action.option_strings[0]} {values}".rstrip()

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        if action.type is string_to_bool:
            return "true|false"
        kinds = {int: "INT", float: "FLOAT", str: "TEXT"}
        return kinds.get(action.type) or super()._get_default_metavar_for_optional(action)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, [], "") else super()._get_help_string(action)


class _Noted(argparse.Action):
    """A word that leaves no value: `plain_errors` looks for it itself."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Do nothing."""


class _HelpAll(_Noted):
    """`--help` with nothing left out."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print it, and end the script."""
        assert isinstance(parser, DataclassParser)
        print(parser.format_help(whole=True), end="")
        parser.exit()
