"""What ruff does not look at: docstring sections, words, `__all__`, and that the tests mirror the tree."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("amif", "modeling_amif", "processing_amif", "training", "examples")
# The links in amif/ lead to the folders that stand beside it.
SOURCES = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}
SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
# Tests of several files at once, or of time.
MIRROR_NO_FILE = {
    "examples/test_accelerate_configs.py",
    "examples/test_help.py",
    "examples/test_notebooks.py",
    "examples/test_own_questions.py",
    "examples/test_paper_recipes.py",
    "examples/test_several_images.py",
    "examples/test_several_sets.py",
    "examples/test_wrong_command_lines.py",
    "modeling_amif/test_models.py",
    "modeling_amif/test_old_layout.py",
    "modeling_amif/test_quantization.py",
    "modeling_amif/test_reading_once.py",
    "modeling_amif/test_visible_patches_cost.py",
    "processing_amif/test_any_dicom.py",
    "processing_amif/test_any_input.py",
    "training/checkpoints/test_any_damage.py",
    "training/data/test_any_rows.py",
    "training/evaluation/test_any_evaluation.py",
    "training/test_faults.py",
    "training/test_fsdp.py",
    "training/test_trainer_features.py",
    "training/test_two_processes.py",
}


def docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "name", "module"), ast.get_docstring(node) or ""


def sections(docstring: str) -> Iterator[tuple[str, list[str]]]:
    """Titles with the texts of their entries, name and colon included, each on one line."""
    title, entries = "", []
    for line in [*docstring.splitlines(), "End:"]:
        if line and not line.startswith(" "):
            if title:
                yield title, entries
            title, entries = line[:-1] if SECTION.match(line) else "", []
        elif title and line.startswith("    ") and (title in ("Returns", "Yields") or line.startswith("     ")):
            entries[-1:] = [" ".join([*entries[-1:], line.strip()])]
        elif title and line:
            entries.append(line.strip())


def faults(docstring: str) -> Iterator[str]:
    for title, entries in sections(docstring):
        for entry in entries:
            said = entry if title in ("Returns", "Yields") else entry.partition(": ")[2]
            wanted = ("If ", "As ") if title == "Raises" else ""
            if said[:1].islower() or not said.startswith(wanted) or not said.endswith((".", ":", ")", "`")):
                yield f"{title}: {entry}"


def test_sections_of_docstrings_are_sentences():
    """`name: Text.`, and `ValueError: If ...` or `ValueError: As another function.`"""
    found = [
        f"{path} {name}: {fault}"
        for path, text in SOURCES.items()
        for name, docstring in docstrings(ast.parse(text))
        for fault in faults(docstring)
    ]
    assert not found, "\n".join(found)


def test_packages_alone_say_what_they_hand_on():
    assert not [path for path, text in SOURCES.items() if "__all__" in text and path.name != "__init__.py"]


def test_an_image_is_called_so():
    """But in a question of phantom, which is data."""
    found = [
        f"{path}: {line.strip()}"
        for path, text in SOURCES.items()
        for line in text.splitlines()
        if "picture" in line.lower() and "does the picture show" not in line
    ]
    assert not found, "\n".join(found)


def test_tests_mirror_the_tree():
    for folder in ("modeling_amif", "processing_amif", "training", "examples"):
        for path in sorted((ROOT / "tests" / folder).rglob("test_*.py")):
            tested = path.relative_to(ROOT / "tests")
            source = ROOT / tested.parent / tested.name.removeprefix("test_")
            assert source.exists() or tested.as_posix() in MIRROR_NO_FILE, f"{tested} mirrors no file"
