"""`import amif` gives the package from everywhere, and an installation brings nothing else along."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = ["amif", "examples", "modeling_amif", "processing_amif", "training"]
DATA = {
    "amif/model_cards/template.md",
    "amif/training/reports/html_report.css",
    "amif/training/reports/html_report.html",
    "amif/training/reports/html_report.js",
    "amif/training/reports/published_results.json",
    "amif/py.typed",
    "amif_command.py",
}
# Of the examples, which the command `amif` runs.
DATA |= {
    f"amif/examples/{path.relative_to(ROOT / 'examples').as_posix()}"
    for pattern in ("recipes/**/*.yaml", "ablations/*.yaml", "prompts/*.json", "app.css")
    for path in (ROOT / "examples").glob(pattern)
}
UNTRACKED = shutil.ignore_patterns(".git", "*.egg-info", "build", "dist", "__pycache__", "amif-vqa")
# Where `amif` comes from, and which names of the clone's folders are to be had beside it.
WHERE = """
import json
from importlib.util import find_spec
print(json.dumps([find_spec("amif").origin, [name for name in ("training", "tests", "examples") if find_spec(name)]]))
"""


def run(*command: object, **options: object) -> str:
    """Standard output of a command that sees nothing of this clone."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """In a folder that bears the package's name, as `git clone` leaves it."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("parent") / "amif", symlinks=True, ignore=UNTRACKED)


@pytest.fixture(scope="module")
def built(clone, tmp_path_factory):
    """A source distribution, and the wheel that is built from it alone."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, clone)
    return folder


@pytest.fixture
def environment(tmp_path):
    """Install into an environment of its own, beside the libraries of this one."""

    def install(*what: object) -> Path:
        run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
        (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
        # Paths named in files of this folder are not followed, so no editable amif of this environment is found.
        (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
        python = tmp_path / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--ignore-installed", *what)
        return python

    return install


def found(python: Path, folder: Path) -> tuple[Path, list[str]]:
    origin, generic = json.loads(run(python, "-c", WHERE, cwd=folder))
    return Path(origin), generic


def names_in(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def expected_names() -> set[str]:
    files = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    files = [path for path in files if path.parts[:2] != ("examples", "space")]  # it runs where amif is installed
    return DATA | {(path if path.parts[0] == "amif" else "amif" / path).as_posix() for path in files}


def test_wheel_of_a_source_distribution_holds_the_package_under_one_name_and_nothing_else(built):
    assert names_in(next(built.glob("*.whl"))) == expected_names()
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        assert all(member.isfile() or member.isdir() for member in archive), "no links, which Windows may not make"


def test_wheel_of_a_clone_under_another_name_is_the_same(clone, tmp_path):
    copy = shutil.copytree(clone, tmp_path / "some-clone", symlinks=True, ignore=UNTRACKED)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, copy)
    assert names_in(next(tmp_path.glob("*.whl"))) == expected_names()


def test_editable_installation_is_found_from_everywhere(environment, clone, tmp_path):
    """Also in the folder that holds the clone, where `amif` might as well be a package without a file."""
    python = environment("-e", clone)
    for folder in (clone, clone.parent, tmp_path):
        assert found(python, folder)[0] == clone / "amif" / "__init__.py"
    code = "from amif import AmifProcessor; print(AmifProcessor.__module__)"
    assert run(python, "-c", code, cwd=clone.parent).strip() == "amif.processing_amif.processing_amif"


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_installation_is_found_from_everywhere(environment, clone, built, tmp_path, kind):
    """In the clone's root its own package comes first, as everything in a working directory does."""
    python = environment(next(built.glob(kind)))
    (installed,) = (tmp_path / "venv").glob("lib/python*/site-packages/amif/__init__.py")
    assert found(python, clone)[0] == clone / "amif" / "__init__.py"
    for folder in (clone.parent, tmp_path):
        assert found(python, folder) == (installed, [])


def test_installed_command_runs_scripts_with_recipes_by_name(environment, built, tmp_path):
    python = environment(next(built.glob("*.whl")))
    command = python.parent / "amif"
    assert "recipes of train: " in run(command, "--help", cwd=tmp_path)
    words = [command, "train", "slake", "--data_dir", "nowhere", "--protocol", "xyz"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1]
        == "amif train: error: --protocol xyz: it is one of clean, paper, choices, generate."
    )


def test_changelog_and_citation_say_the_version_of_the_package(built):
    """The number itself stands in amif/__init__.py alone."""
    (wheel,) = built.glob("*.whl")
    version = wheel.name.split("-")[1]
    assert f'__version__ = "{version}"' in (ROOT / "amif" / "__init__.py").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest.startswith(f"## [{version}] - ")
