"""Every script explains its arguments: a help text that argparse cannot format crashes `--help` alone."""

import re
import runpy
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from transformers import TrainingArguments

from amif import AmifVqaArguments
from amif.training.command_line import FIRST
from amif.training.fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from amif.training.pretraining.arguments import PretrainingDataArguments
from amif.training.pretraining.objectives import OBJECTIVES

SCRIPTS = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
TRAINER = {field.name for field in fields(TrainingArguments) if field.init}
# Command lines of the scripts that train, and the dataclasses of their arguments.
TRAINING = {
    "run_vqa": (VqaModelArguments, FineTuningDataArguments, AmifVqaArguments),
    **{
        f"run_pretraining --objective {name}": (of.model_arguments, PretrainingDataArguments, of.arguments)
        for name, of in OBJECTIVES.items()
    },
}


@pytest.fixture
def help_of(monkeypatch, capsys):
    def help_of(script, *words):
        monkeypatch.setattr(sys, "argv", [str(script), *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
        assert ended.value.code == 0
        return capsys.readouterr().out

    return help_of


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help_is_printed(script, help_of):
    text = help_of(script, "--help")
    assert "show this help message and exit" in text
    assert "--debug" in text
    assert re.search(rf"\n    (accelerate launch|python) examples/{script.name}", text)


@pytest.mark.parametrize("line", TRAINING)
def test_the_short_help_has_our_arguments_and_help_all_those_of_the_trainer_too(line, help_of):
    name, *words = line.split()
    script = SCRIPTS[0].with_name(f"{name}.py")
    short, whole = help_of(script, *words, "--help"), help_of(script, *words, "--help_all")
    in_short, in_whole = (re.findall(r"^  --(\w+)", text, re.MULTILINE) for text in (short, whole))
    names = {field.name for kind in TRAINING[line] for field in fields(kind) if field.init}
    assert names >= TRAINER
    assert {*in_short} - {"help_all"} == names - (TRAINER - {*FIRST})
    assert {*in_whole} == names | {"help_all"}
    assert len({*in_whole}) == len(in_whole)
    first = [name for name in FIRST if name in names]
    assert in_short[: len(first)] == in_whole[: len(first)] == first
    assert f"--help_all lists {len(TRAINER - {*FIRST})} more" in short
