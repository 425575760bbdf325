"""Every command and block of Python of the pages runs on small stand-ins; each script takes all of a page's words."""

import argparse
import runpy
import sys
from pathlib import Path

import pytest
import yaml
from page_commands import NOTES, PAGES, ROOT, Command, commands_of, python_of
from page_stand_ins import with_stand_ins, write_stand_ins
from started_scripts import python_with_amif, run_script
from transformers import HfArgumentParser

from amif.training import recipes

# What stands for a number in a page.
NUMBERS = {"SEED": "42", "SIZE": "8", "N": "2"}

# Commands that are parsed here and not run, by page and first words of the line, with the reason.
SERVES = "does not end; tests/examples/test_app.py starts the same page and asks it"
PARSED = {
    ("README", "python examples/app.py"): SERVES,
    ("demo", "python examples/app.py"): SERVES,
    ("reproduce", ""): "tests/examples/test_paper_recipes.py runs this page's, in order, on what they are about",
}

# What starts no script of ours, by its first words, with the reason why it is not tried here.
INSTALLS = "changes the environment, and no test downloads anything"
OTHERS = {
    "pip install": INSTALLS,
    "python3 -m venv": INSTALLS,
    "source ": INSTALLS,
    "/tmp/bounds/bin/": INSTALLS,
    "PYTHONPATH=$PWD /tmp/bounds/bin/python": INSTALLS,
    "ruff ": "a part of .ci/run",
    "pyright": "a part of .ci/run",
    "pytest": "runs this test",
    "AMIF_EXAMPLES=5000 pytest": "runs this test",
    ".ci/run": "runs this test",
    "mkdocs serve": "does not end; .ci/run builds the same pages",
    "uvicorn serve:app": "does not end; tests/docs/test_serving.py asks the same program",
}

# Python that is not run, by page and a part of the block, with the reason.
NOT_RUN = {
    ("export", ""): "tests/examples/test_export.py runs it",
    (
        "fine_tuning",
        "publish_checkpoint",
    ): "tests/training/checkpoints/test_publishing.py publishes to a server of its own",
    ("pretraining_data", "mdwiratathya"): "reads a set of the Hub",
    ("pretraining_data", "owner/name"): "reads a set of the Hub",
    ("pretraining_data", "AmifPreTrainer("): "ends in what the reader writes",
    ("serving", ""): "tests/docs/test_serving.py runs it",
}

# By page, what else its words name: one of the checkpoints.
CHECKPOINTS = {
    "ablations": {"STAGE_TWO2": "STAGE_TWO", "VQA": "amif-vqa", "VQA2": "amif-vqa"},
    "fine_tuning": {"CHECKPOINT": "START"},
    "lora": {"CHECKPOINT": "amif-vqa", "BASE": "amif-vqa"},
    "pretraining": {"ONE": "STAGE_TWO"},
    "pretraining_evaluation": {"CHECKPOINT": "STAGE_TWO"},
}

# What makes a run small.
FEW_ROWS = "--max_train_samples 24 --max_eval_samples 12"
FEW_STUDIES = "--num_studies 60"
SHORT = "--use_cpu --max_steps 2 --per_device_train_batch_size 4 --disable_tqdm true"
NEW_MODEL = "--image_size 96 --num_co_attention_layers 1"
SMALL_SETTING = {
    "description": "tiny",
    "differences": ["Far too small to say anything."],
    "common": {
        **{"dataset": "phantom", "num_studies": 60, "image_size": 32, "hidden_size": 32, "num_co_attention_layers": 1},
        **{"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False, "max_steps": 1},
        "disable_tqdm": True,
    },
    "stage_one": {"stage": "global"},
    "stage_two": {"stage": "local"},
    "fine_tuning": {"knowledge": "answers", "max_train_samples": 12, "max_eval_samples": 12},
    "teacher": "one_hot",
    "teachers": {"one_hot": {"seed": 1}},
}


class ParsedError(Exception):
    """The script has read its command line, and would go to work."""


def commands_with_ids(pages: list[Path]) -> list:
    found = [command for page in pages for command in commands_of(page) if command.script]
    return [pytest.param(command, id=f"{command.page.stem} {place}") for place, command in enumerate(found)]


@pytest.fixture
def stopped_when_parsed(monkeypatch):
    def stop_behind(function):
        def stopped(*args, **options):
            function(*args, **options)
            raise ParsedError

        return stopped

    parse_args = argparse.ArgumentParser.parse_args

    def parse(parser, *args, **options):
        found = parse_args(parser, *args, **options)
        if isinstance(parser, HfArgumentParser):  # amif's own functions read with it, several times
            return found
        raise ParsedError

    monkeypatch.setattr(recipes, "parse_with_recipe", stop_behind(recipes.parse_with_recipe))
    monkeypatch.setattr(recipes, "parse_arguments", stop_behind(recipes.parse_arguments))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)


@pytest.mark.parametrize("command", commands_with_ids([*PAGES, *NOTES]))
def test_a_script_takes_the_words_of_the_page(command, stopped_when_parsed, monkeypatch):
    words = [NUMBERS.get(word, word) for word in command.words]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [command.script, *words])
    with pytest.raises(SystemExit if "--help" in words else ParsedError):
        runpy.run_path(f"examples/{command.script}", run_name="__main__")


def test_what_is_not_run_has_a_reason_and_every_reason_is_needed():
    commands = [command for page in PAGES for command in commands_of(page)]
    others = [command.line.replace("'", "") for command in commands if command.script is None]
    assert [line for line in others if not line.startswith(tuple(OTHERS))] == []
    assert [start for start in OTHERS if not any(line.startswith(start) for line in others)] == []
    assert NOT_RUN.keys() == {key for page in PAGES for block in python_of(page) if (key := not_run(page, block))}
    assert PARSED.keys() == {reason for command in commands if (reason := parsed_alone(command))}


def parsed_alone(command: Command) -> tuple[str, str] | None:
    """The entry of `PARSED` that keeps a command from being run."""
    if command.script is None or "..." in command.line:
        return None
    return next((key for key in PARSED if key[0] == command.page.stem and command.line.startswith(key[1])), None)


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    folder = write_stand_ins(tmp_path_factory.mktemp("stand_ins"))
    for name in ("examples", "docs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL_SETTING))
    return folder


@pytest.fixture
def folder(stand_ins, tmp_path):
    """Where a page is read: with links to all stand-ins."""
    for path in stand_ins.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def run_page(page: Path, folder: Path, done_before: set[tuple[str | None, ...]] = frozenset()) -> None:
    """Run a page's commands in their order, but for those that another page has too, and then its Python."""
    for name, path in CHECKPOINTS.get(page.stem, {}).items():
        (folder / name).symlink_to(folder / path)
    for command in commands_of(page):
        if command.script is None or parsed_alone(command) or (command.script, *command.words) in done_before:
            continue
        words = with_stand_ins(command)
        words += smaller(command, words)
        if (output := output_of(command, words)) and (folder / output).is_symlink():
            (folder / output).unlink()  # the page makes it itself
        done = run_script(command.script, *words, folder=folder)
        assert done.returncode == 0, f"{command.line}\n{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert output is None or (folder / output).exists()
    python = [block for block in python_of(page) if not_run(page, block) is None]
    done = python_with_amif().run("-c", "\n".join(python), folder=folder)
    assert done.returncode == 0, done.stderr


def not_run(page: Path, block: str) -> tuple[str, str] | None:
    """The entry of `NOT_RUN` that keeps a block of Python from being run."""
    return next((key for key in NOT_RUN if key[0] == page.stem and key[1] in block), None)


def output_of(command: Command, words: list[str]) -> str | None:
    if "--output_dir" in words:
        return words[words.index("--output_dir") + 1]
    return "amif-vqa" if command.script == "run_vqa.py" and "--help" not in words else None


def smaller(command: Command, words: list[str]) -> list[str]:
    """Further words that make a command small, behind those of the page, which they override."""
    more = {
        "run_ablation.py": "--setting small.yaml --seeds 1 --table 4",
        "compare_objectives.py": "--arms none --seeds 1 --pretraining num_studies=60 image_size=32 max_steps=1 "
        "--fine_tuning num_studies=60 max_train_samples=12 max_eval_samples=12 max_steps=1",
        "cross_validate.py": "max_steps=1 use_cpu=true",
    }.get(command.script or "", "")
    if command.script in ("run_vqa.py", "run_pretraining.py"):
        more = SHORT if "--output_dir" in words or "..." not in command.line else f"{SHORT} --output_dir OUT"
        more += "" if "--streaming" in words else f" {FEW_ROWS}"
        more += "" if "--model_name_or_path" in words else f" {NEW_MODEL}"
    of_phantom = command.script not in ("answer.py", "export.py", "run_ablation.py") and "phantom" in " ".join(words)
    default = command.script in ("run_vqa.py", "run_pretraining.py", "run_classification.py") or "localization" in words
    if of_phantom or (default and not {"--dataset", "--data_dir"} & set(words)):
        more += f" {FEW_STUDIES}"
    return [] if "--help" in words else more.split()


def test_the_readmes_commands_run(folder):
    run_page(ROOT / "README.md", folder)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.stem)
def test_a_pages_commands_run(page, folder):
    readmes = {(command.script, *command.words) for command in commands_of(ROOT / "README.md")}
    run_page(page, folder, readmes)
