"""Every script explains its arguments: a help text that argparse cannot format crashes `--help` alone."""

import os
import re
import runpy
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from started_scripts import LoadedPython
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


# Those of gradio and of transformers' own arguments wait for these.
QUICK = [script for script in SCRIPTS if script.stem not in ("app", "run_pretraining", "run_vqa")]
SLOW_TO_IMPORT = "{'accelerate', 'datasets', 'matplotlib', 'pandas', 'scipy', 'sklearn', 'torch', 'torchvision'}"
RUN = f"""
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("loaded:", *sorted({SLOW_TO_IMPORT} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def small_python():
    """A Python that has loaded what reads dataclasses' arguments, and no amif."""
    return LoadedPython("import transformers.hf_argparser", os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize("script", QUICK, ids=lambda script: script.stem)
def test_help_and_wrong_words_need_no_model_and_no_data(small_python, script, tmp_path):
    helped = small_python.run("-c", RUN, script, "--help", folder=tmp_path)
    wrong = small_python.run("-c", RUN, script, "--datset", "slake", folder=tmp_path)
    assert [helped.returncode, wrong.returncode] == [0, 2]
    assert "show this help message" in helped.stdout
    assert helped.stderr.splitlines()[-1] == wrong.stderr.splitlines()[-1] == "loaded:"


PUT_OFF = """
import sys
from amif_command import arguments_first
with arguments_first():
    from amif.training.command_line import import_models
before = hasattr(sys.modules["amif"], "AmifConfig")
import_models()
import amif
from transformers import AutoConfig
print(before, type(AutoConfig.for_model("amif")) is amif.AmifConfig)
"""


def test_models_that_were_put_off_are_there_when_they_are_needed(small_python, tmp_path):
    done = small_python.run("-c", PUT_OFF, folder=tmp_path)
    assert done.stdout.split() == ["False", "True"], done.stderr


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
