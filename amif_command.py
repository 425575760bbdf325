"""The command `amif`: scripts of examples/ under short names, and their recipes by name.

It stands beside the package, whose import brings torch, and runs the scripts without it: help, and what is mistyped,
is answered at once where the script itself waits with its imports until its arguments are read.
"""

import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import NoReturn

# By command the script, and what it does.
COMMANDS = {
    "train": ("run_vqa", "fine-tune on questions about images, and evaluate"),
    "pretrain": ("run_pretraining", "pre-train on image-report pairs"),
    "predict": ("predict_with_vlm", "answer a data set with a chat model, MedGemma, Qwen-VL or LLaVA for example"),
    "evaluate": ("evaluate_predictions", "score any system's predictions, or compare two systems"),
    "answer": ("answer", "ask a question about an image, or about each of a folder"),
    "audit": ("audit_dataset", "audit a data set before a number on it is believed"),
}
RECIPE_SUFFIXES = (".json", ".yaml", ".yml")

HELP = """usage: amif COMMAND ...

{commands}

`amif COMMAND --help` lists what a command takes. A recipe, which holds arguments, comes first, by its name or as a
JSON or YAML file; of several, each overrides those before it:

  amif train slake --data_dir DIR --output_dir OUT
  amif train paper/slake recipe.yaml

{recipes}"""


def main() -> None:
    """Run the command that the command line names."""
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        commands = "\n".join(f"  {name:10}{does}" for name, (_, does) in COMMANDS.items())
        recipes = "\n".join(f"recipes of {name}: {', '.join(recipes_of(name))}" for name in ("train", "pretrain"))
        print(HELP.format(commands=commands, recipes=recipes))
        sys.exit(0 if sys.argv[1:] else 2)
    command, *words = sys.argv[1:]
    if command not in COMMANDS:
        stop("amif", f"no command {command}", command, COMMANDS)
    recipes = recipes_of(command)
    for place, word in enumerate(takewhile(lambda word: not word.startswith("-"), words if recipes else [])):
        if Path(word).suffix not in RECIPE_SUFFIXES:
            if word not in recipes:
                stop(f"amif {command}", f"no recipe {word}, and no JSON or YAML file", word, recipes)
            words[place] = str(recipes[word])
    sys.argv = [f"amif {command}", *words]
    try:
        load_script(COMMANDS[command][0]).main()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "amif":
            raise
        sys.exit(f'amif {command} needs {error.name}: pip install "amif[eval]"')


def examples() -> Path:
    """The folder of the scripts, without an import of the package, which brings torch."""
    package = find_spec("amif")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'amif'", name="amif")
    return Path(package.submodule_search_locations[0]) / "examples"


@contextmanager
def arguments_first() -> Iterator[None]:
    """Import the classes of a script's arguments, and not what the package itself imports: all models, for seconds.

    Its code runs when `parse_arguments` has read the arguments; help, and what is wrong, need not wait for it.
    """
    spec = find_spec("amif")
    if "amif" not in sys.modules and spec is not None:
        sys.modules["amif"] = module_from_spec(spec)
    yield


def load_script(name: str) -> ModuleType:
    """A script as `import_module` gives it; what it imports itself decides how long that takes."""
    spec = spec_from_file_location(f"amif.examples.{name}", examples() / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(script)
    # Its help says how to call it: here by this command.
    said = re.sub(r"examples/recipes/(\S+)\.yaml", r"\1", script.__doc__ or "")
    for command, (file, _) in COMMANDS.items():
        said = re.sub(rf"(accelerate launch|python) examples/{file}\.py", f"amif {command}", said)
    script.__doc__ = said
    return script


def recipes_of(command: str) -> dict[str, Path]:
    """Files of the recipes that a command takes, by name."""
    if command not in ("train", "pretrain"):
        return {}
    folder = examples() / "recipes"
    files = {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))}
    return {name: file for name, file in files.items() if ("pretraining" in name) == (command == "pretrain")}


def stop(program: str, what: str, word: str, known: Collection[str]) -> NoReturn:
    """End with an error that tells what there is, the most alike first."""
    alike = get_close_matches(word, known, 1)
    there = ", ".join([*alike, *(name for name in known if name not in alike)])
    print(f"{program}: {what}; there are {there}.", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
