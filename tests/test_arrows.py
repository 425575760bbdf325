"""Imports run one way through the house, and around no circle."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A room imports itself and the floors below it, here above it; rooms of one floor do not know each other.
FLOORS = (
    (
        *("modeling_amif", "processing_amif", "training/losses"),
        *("training/argument_checks.py", "training/command_line.py", "training/distributed.py"),
    ),
    ("training/data", "training/model_arguments.py", "training/processors.py", "training/small_model.py"),
    ("training/evaluation", "training/recipes.py"),
    ("training/reports",),
    ("training/checkpoints",),
    ("training/pretraining",),
    ("training/fine_tuning",),
    ("training/chat_models", "training/experiments"),
    ("amif",),
    ("examples",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# What else than the standard library the rooms need that work where the rest is not installed.
LIBRARIES = {
    "modeling_amif": {"torch", "transformers"},
    "processing_amif": {"PIL", "numpy", "torch", "transformers"},
    "training/losses": {"ot", "torch"},
}


def sources(*folders: str) -> list[Path]:
    return [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


# The links in amif/ lead to the folders that stand beside it.
FILES = {Path("amif/__init__.py"), *sources("modeling_amif", "processing_amif", "training", "examples")}


def room_of(path: Path) -> str:
    if path.parts[0] != "training":
        return path.parts[0]
    return "/".join(path.parts[:2])


def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """All of a file, those within functions too."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    """What a statement imports by its whole name; nothing where it is relative."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [] if node.level else [node.module or ""]


def imported_files(path: Path) -> Iterator[Path]:
    """Files of this repository that a file imports."""
    for node in imports(path):
        for module in modules(node) or [relative_module(node, path)]:
            if module.split(".")[0] == "amif":
                names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
                for name in names or [""]:
                    yield file_of([*module.split(".")[1:], *filter(None, [name])], path)


def relative_module(node: ast.ImportFrom, path: Path) -> str:
    package = ["amif", *(part for part in path.parts[:-1] if part != "amif")]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def file_of(parts: list[str], importer: Path) -> Path:
    """The file of a module below amif, or of the one that holds a name."""
    for stem in [Path(*parts), Path(*parts[:-1])]:
        for candidate in (stem.with_suffix(".py"), stem / "__init__.py") if stem.parts else [Path("amif/__init__.py")]:
            if candidate in FILES:
                return candidate
    raise AssertionError(f"{importer} imports {'.'.join(parts)}, which is no file")


GRAPH = {path: {target for target in imported_files(path) if target != path} for path in FILES}


def test_every_file_stands_on_a_floor():
    assert {room_of(path) for path in FILES} - {"training/__init__.py"} == FLOOR_OF.keys()


def test_no_arrow_runs_up():
    up = [
        f"{path} -> {target}"
        for path, targets in GRAPH.items()
        for target in targets
        if room_of(path) != room_of(target) and FLOOR_OF[room_of(target)] >= FLOOR_OF[room_of(path)]
    ]
    assert not up, "\n".join(sorted(up))


def test_no_circle():
    """`CycleError` names the files of one."""
    TopologicalSorter(GRAPH).prepare()


@pytest.mark.parametrize(("room", "allowed"), LIBRARIES.items())
def test_rooms_that_stand_alone_need_few_libraries(room, allowed):
    for path in sources(room):
        libraries = {name.split(".")[0] for node in imports(path) for name in modules(node)}
        assert libraries - sys.stdlib_module_names <= allowed, path


def test_what_a_checkpoint_carries_imports_siblings_alone():
    """As transformers resolves code beside the weights: `from .sibling import name`, and no subfolders."""
    for path in sources("modeling_amif", "processing_amif"):
        assert len(path.parts) == 2
        for node in imports(path):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert (node.level, "." in (node.module or ".")) == (1, False), f"{path}: {ast.unparse(node)}"


def test_the_front_door_is_the_one_name():
    """No source imports `training` and the like by the folder's name, which would make two modules of one file."""
    for path in FILES:
        names = {name.split(".")[0] for node in imports(path) for name in modules(node)}
        assert not names & {"modeling_amif", "processing_amif", "training", "examples", "tests"}, path
