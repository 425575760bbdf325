"""Arguments of a script from recipes, JSON or YAML files, and from the command line, which overrides them."""

import json
import logging
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from types import NoneType, SimpleNamespace
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

import yaml
from transformers import HfArgumentParser

from .command_line import DataclassParser, end_with, import_models, only_process
from .data.names import NAMED, PAIR_SETS

logger = logging.getLogger(__name__)

# Arguments whose values hold a path behind a name.
PATH_AFTER = {
    "teacher": ":",
    "vision_model": "open_clip:",
    "text_model": "open_clip:",
    "dataset": "=",
    "add_vqa_pairs": "=",
    "also_train_on": "=",
    "leave_out_images_of": "=",
}

# Words beside which the default recipe is not read.
NO_DEFAULT_RECIPE = ("--dataset", "--help", "-h", "--help_all", "--help-all")

Arguments = TypeVar("Arguments")


# What arguments raise, those of transformers included, some of which name files or need libraries.
_OF_ARGUMENTS = (ImportError, OSError, TypeError, ValueError)


def parse_arguments(dataclass_type: type[Arguments], description: str | None, needs_models: bool = True) -> Arguments:
    """The command line of a script that runs in one process; what is wrong with it ends the script with one line.

    Args:
        dataclass_type: Its fields are the arguments.
        description: What the script does, for its help.
        needs_models: Whether to import the models then, which scripts put off till here (`amif_command`).
    """
    parser = DataclassParser([dataclass_type], description)
    try:
        only_process()
        (parsed,) = _instances(parser, None)
    except _OF_ARGUMENTS as error:
        end_with(error, 2)
    if needs_models:
        import_models()
    return parsed


def parse_with_recipe(
    dataclass_types: Sequence[Any],
    arguments: Sequence[str],
    default_recipe: str | Path,
    description: str | None = None,
    **defaults: Any,
) -> tuple[Any, ...]:
    """One instance of each dataclass; what is wrong with recipe or command line ends the script with one line.

    Args:
        dataclass_types: The dataclasses whose fields are the arguments.
        arguments: The command line; first words that end in .json, .yaml or .yml name recipes, of which each overrides
            those before it.
        default_recipe: The recipe where none is named and no `--dataset` is given; help tells the plain defaults.
        description: What the script does, for its help.
        **defaults: Defaults other than the dataclasses'.
    """
    parser = DataclassParser(dataclass_types, description, takes_recipes=True)
    recipes: list[str | Path] = [*_recipes_of(arguments)]
    words = arguments[len(recipes) :]
    if not recipes and not any(word.split("=")[0] in NO_DEFAULT_RECIPE for word in words):
        recipes = [default_recipe]
    parser.set_defaults(**defaults)
    try:
        for recipe in recipes:
            _set_defaults(parser, read_recipe(recipe), str(recipe))
        return _instances(parser, words)
    except _OF_ARGUMENTS as error:
        end_with(error, 2)


def arguments_of(dataclass_types: Sequence[Any], values: Mapping[str, Any], source: str) -> tuple[Any, ...]:
    """One instance of each dataclass, of values by name, as a recipe holds them.

    Raises:
        ValueError: If a name is unknown or a value is not what it may be; it begins with `source`.
    """
    parser = DataclassParser(dataclass_types)
    _set_defaults(parser, values, source)
    try:
        return _instances(parser, [])
    except _OF_ARGUMENTS as error:
        raise ValueError(f"{source}: {error}") from error


def _instances(parser: HfArgumentParser, words: Sequence[str] | None) -> tuple[Any, ...]:
    *instances, unknown = parser.parse_args_into_dataclasses(
        None if words is None else list(words), return_remaining_strings=True, look_for_args_file=False
    )
    names = [word for word in unknown if word.startswith("-")]
    if unknown:
        raise ValueError(
            f"unknown arguments: {' '.join(unknown)}.{_alike([word.strip('-') for word in names], parser)} "
            "--help lists all that there are."
        )
    return tuple(instances)


def _set_defaults(parser: HfArgumentParser, values: Mapping[str, Any], source: str) -> None:
    """Take values for defaults, each read as the same words on a command line would be."""
    known = {action.dest for action in parser._actions}
    if unknown := sorted(values.keys() - known):
        raise ValueError(f"{source} has unknown arguments: {', '.join(unknown)}.{_alike(unknown, parser)}")
    # No word of a command line says None.
    hints = {name: hint for kind in parser.dataclass_types for name, hint in get_type_hints(kind).items()}
    without = {name: None for name, value in values.items() if value is None and NoneType in get_args(hints[name])}
    if null := [name for name, value in values.items() if value is None and name not in without]:
        raise ValueError(f"{source}: {null[0]} is null: give a value, or leave it out.")
    words = []
    for name, value in values.items():
        if name not in without:
            options = value if isinstance(value, list) else [value]
            options = [json.dumps(one) if isinstance(one, bool | dict) else str(one) for one in options]
            words += [f"--{name}", *options] if isinstance(value, list) else [f"--{name}={options[0]}"]
    try:
        parser.set_defaults(**vars(parser.parse_args(words)))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    parser.set_defaults(**without)


def _alike(names: Iterable[str], parser: ArgumentParser) -> str:
    known = [action.dest for action in parser._actions]
    alike = [match for name in names for match in get_close_matches(name.replace("-", "_"), known, 1)]
    return f" Did you mean {', '.join(alike)}?" if alike else ""


class Unused(NamedTuple):
    """Arguments that change nothing where others have certain values.

    Attributes:
        where: Whether that is so, of all arguments by name.
        reason: What the others are, behind "changes nothing".
        names: The arguments.
    """

    where: Callable[[SimpleNamespace], bool]
    reason: str
    names: tuple[str, ...]


# Of every trainer.
UNUSED_IN_TRAINING = (
    Unused(lambda given: given.eval_strategy != "steps", "without --eval_strategy steps", ("eval_steps",)),
    Unused(lambda given: given.save_strategy != "steps", "without --save_strategy steps", ("save_steps",)),
)


def warn_of_unused(rules: Iterable[Unused], arguments: Sequence[Any]) -> None:
    """Name the arguments that are given and change nothing.

    Args:
        rules: Which change nothing when.
        arguments: All dataclasses of the command line. A value that is the default counts as not given.
    """
    values, defaults = {}, {}
    for part in arguments:
        for field in fields(part):
            values[field.name] = getattr(part, field.name)
            defaults[field.name] = field.default if field.default_factory is MISSING else field.default_factory()
    for rule in rules:
        given = [name for name in rule.names if values[name] != defaults[name]]
        if given and rule.where(SimpleNamespace(**values)):
            named = ", ".join(f"--{name} {values[name]}" for name in given)
            logger.warning(f"{named} {'changes' if len(given) == 1 else 'change'} nothing {rule.reason}.")


def choice_ahead(arguments: Sequence[str], name: str, choices: Sequence[str]) -> str:
    """The value of an argument that decides which other arguments there are; the first choice where it is not given.

    Args:
        arguments: The command line, as for `parse_with_recipe`; of its recipes, too, the value is taken.
        name: Of the argument, without dashes.
        choices: What it may be; another value ends the script with a message.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{name}", choices=choices)
    given = getattr(parser.parse_known_args(arguments)[0], name)
    chosen = choices[0]
    for recipe in _recipes_of(arguments):
        try:
            chosen = read_recipe(recipe).get(name, chosen)
        except ValueError as error:
            parser.error(str(error))
        if chosen not in choices:  # which the parser does not check
            parser.error(f"{recipe}: {name} is {chosen!r}; choose from {', '.join(choices)}")
    return given or chosen


def _recipes_of(arguments: Sequence[str]) -> list[str]:
    return list(takewhile(lambda word: Path(word).suffix in (".json", ".yaml", ".yml"), arguments))


def read_recipe(recipe: str | Path) -> dict[str, Any]:
    """The arguments that a JSON or YAML file holds.

    Raises:
        ValueError: If it cannot be read, is neither, holds no arguments by name, or one twice.
    """
    try:
        values = yaml.load(Path(recipe).read_text(encoding="utf-8"), _NoRepeats)  # JSON is YAML too
    except OSError as error:
        raise ValueError(f"the recipe {recipe} cannot be read: {error.strerror}.") from error
    except Exception as error:  # YAML's constructors of numbers, dates and tags raise all kinds
        where = getattr(error, "problem_mark", None)
        kind = "" if isinstance(error, UnicodeDecodeError) else f" ({type(error).__name__})"
        problem = f", line {where.line + 1}: {getattr(error, 'problem', '')}" if where else kind
        raise ValueError(f"{recipe} is neither JSON nor YAML in UTF-8{problem}.") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"{recipe} holds no arguments: write one `name: value` a line.")
    return values


class _NoRepeats(yaml.SafeLoader):
    """YAML in which no name stands twice in a mapping: of two values the last would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        counts = Counter(key.value for key in keys)
        for key in keys:
            if counts[key.value] > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


def given(pairs: Iterable[str]) -> dict[str, str]:
    """`key=value` words of a command line as a dictionary, with `absolute_paths`.

    Raises:
        ValueError: If a word has no "=", or a key comes twice.
    """
    if odd := [pair for pair in pairs if "=" not in pair]:
        raise ValueError(f"{odd[0]!r} is not of the form name=value.")
    named = [pair.split("=", 1) for pair in pairs]
    if repeated := [name for name, count in Counter(name for name, _ in named).items() if count > 1]:
        raise ValueError(f"{repeated[0]} is given twice: write several values as a list into the recipe.")
    return absolute_paths(dict(named))


def absolute_paths(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same arguments, with relative paths that exist made absolute, those in lists too.

    Runs start in a folder of their own, where a relative path would not be found.
    """
    return {name: _from_anywhere(name, value) for name, value in arguments.items()}


def _from_anywhere(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_from_anywhere(name, item) for item in value]
    # A data set's name is one, whatever lies in this folder.
    if not isinstance(value, str) or (name == "dataset" and value in (*NAMED, *PAIR_SETS)):
        return value
    head, separator, path = value.rpartition(PATH_AFTER[name]) if name in PATH_AFTER else ("", "", value)
    names_folder = name.endswith(("_dir", "_model", "_path", "dataset")) or separator or "/" in path
    is_path = Path(path).is_file() or (names_folder and Path(path).exists())
    return f"{head}{separator}{Path(path).resolve()}" if is_path else value
