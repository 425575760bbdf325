"""Arguments of a script from a recipe, a JSON or YAML file, and from the command line, which goes before it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser


def parse_with_recipe(
    dataclass_types: Sequence[type], arguments: Sequence[str], default_recipe: str | Path, **defaults: Any
) -> tuple[Any, ...]:
    """One instance of each dataclass.

    Args:
        dataclass_types: the dataclasses whose fields are the arguments.
        arguments: the command line; a first word that ends in .json, .yaml or .yml names a recipe.
        default_recipe: the recipe where none is named and no `--dataset` is given.
        **defaults: defaults other than the dataclasses'.
    """
    parser = HfArgumentParser(dataclass_types)
    arguments = list(arguments)
    recipe = None
    if arguments and Path(arguments[0]).suffix in (".json", ".yaml", ".yml"):
        recipe = arguments.pop(0)
    elif not any(argument.split("=")[0] == "--dataset" for argument in arguments):
        recipe = default_recipe
    if recipe is not None:
        values = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))  # JSON is YAML too
        known = {action.dest for action in parser._actions}
        if unknown := sorted(values.keys() - known):
            parser.error(f"{recipe} has unknown arguments: {', '.join(unknown)}")
        parser.set_defaults(**values)
    parser.set_defaults(**defaults)
    return parser.parse_args_into_dataclasses(arguments)
