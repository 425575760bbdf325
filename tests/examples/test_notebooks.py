"""The tutorials, cell by cell, as Jupyter would run them."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.ipynb"))


def run_cell(source: str, names: dict[str, object]) -> str:
    """What a cell prints: Python, or commands that begin with an exclamation mark."""
    printed = io.StringIO()
    python, commands = [], []
    for line in source.replace("\\\n", " ").splitlines():
        (commands if line.startswith("!") else python).append(line)
    with contextlib.redirect_stdout(printed):
        exec("\n".join(python), names)
    for command in commands:
        words = command.removeprefix("!python ").split()
        assert command.startswith("!python "), command
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        printed.write(done.stdout)
    return printed.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(notebook, tmp_path, monkeypatch):
    # The scripts are named from the notebook's folder.
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("recipes", *(path.name for path in notebook.parents[1].glob("*.py"))):
        os.symlink(notebook.parents[1] / name, tmp_path / name)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    printed = [run_cell("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    said = {
        "chat_model_answers": ["overall_extracted: "],
        "own_data": ["reference:"],
        "pretraining": ["'test_recall_i2t@1': ", "question only: "],
    }
    assert [words for words in said[notebook.stem] if words not in "".join(printed)] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_execution_counts_and_link_to_pages_that_exist(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert all(cell.get("execution_count") is None for cell in cells)
    for cell in cells:
        for link in "".join(cell["source"]).split("](")[1:] if cell["cell_type"] == "markdown" else []:
            assert (notebook.parent / link.split(")")[0].split("#")[0]).exists(), link
