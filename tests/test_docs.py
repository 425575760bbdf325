"""Files and names that the pages name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FILE = re.compile(
    r"\b(?:amif|modeling_amif|processing_amif|training|examples|tests|docs)/[\w/]+\.(?:py|jsonl?|ya?ml|md|css)\b"
)
IMPORT = re.compile(r"^from (amif[\w.]*) import ([\w, ]+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page):
    """But for the NAME of what is to be added."""
    named = {name for name in FILE.findall(page.read_text(encoding="utf-8")) if "NAME" not in name}
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_imported_names_exist(page):
    for module, names in IMPORT.findall(page.read_text(encoding="utf-8")):
        path = ROOT.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        words = set(re.findall(r"\w+", path.read_text(encoding="utf-8")))
        assert set(names.split(", ")) <= words, f"{module} has not all of {names}"
