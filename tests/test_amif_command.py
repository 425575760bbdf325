"""The command `amif` answers at once, and hands on what it is given."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import amif_command
from amif import AmifVqaArguments
from amif.training.evaluation.fingerprint import command_line
from amif.training.fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from amif.training.pretraining.arguments import PretrainingDataArguments
from amif.training.pretraining.objectives import OBJECTIVES
from amif.training.recipes import arguments_of

ROOT = Path(__file__).parents[1]
RECIPES = {name: amif_command.recipes_of(name) for name in ("train", "pretrain")}
# Runs the command, and fails where that has imported more than it needs.
AT_ONCE = """
import atexit, os, sys
import amif_command
sys.argv = ["amif", *sys.argv[1:]]
heavy = lambda: {"amif", "numpy", "torch", "transformers"} & sys.modules.keys()
atexit.register(lambda: heavy() and os._exit(99))
amif_command.main()
"""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--help"], 0, ["train", "pretrain", "evaluate", "answer", "audit", "slake", "phantom_pretraining"]),
        ([], 2, ["usage: amif COMMAND"]),
        (["trian"], 2, ["amif: no command trian; there are train, "]),
        (
            ["train", "slake", "paper/slak"],
            2,
            ["amif train: no recipe paper/slak, and no JSON or YAML file; there are paper"],
        ),
        (["train", "slak"], 2, ["amif train: no recipe slak, and no JSON or YAML file; there are slake, "]),
        (["pretrain", "slake"], 2, ["amif pretrain: no recipe slake"]),
        (["answer", "--help"], 0, ["usage: amif answer", "\n    amif answer IMAGE QUESTION", "--window"]),
        (["answer", "a.png", "what?", "--abstain", "--generate"], 2, ["amif answer: error: --abstain"]),
    ],
)
def test_what_needs_no_model_is_answered_without_torch(words, status, said):
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, *words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == status, done.stderr
    assert all(text in done.stdout + done.stderr for text in said)


@pytest.mark.parametrize(
    ("words", "script", "handed_on"),
    [
        ("train", "run_vqa", []),
        ("train slake --data_dir d", "run_vqa", [str(RECIPES["train"]["slake"]), "--data_dir", "d"]),
        ("train own.yaml", "run_vqa", ["own.yaml"]),
        ("train own.yaml slake --seed 1", "run_vqa", ["own.yaml", str(RECIPES["train"]["slake"]), "--seed", "1"]),
        ("train paper/slake", "run_vqa", [str(RECIPES["train"]["paper/slake"])]),
        ("train --help", "run_vqa", ["--help"]),
        ("pretrain phantom_pretraining", "run_pretraining", [str(RECIPES["pretrain"]["phantom_pretraining"])]),
        ("predict --model m", "predict_with_vlm", ["--model", "m"]),
        ("evaluate --predictions p", "evaluate_predictions", ["--predictions", "p"]),
        ("answer train what?", "answer", ["train", "what?"]),
        ("audit --dataset slake", "audit_dataset", ["--dataset", "slake"]),
    ],
)
def test_a_command_is_a_script_and_a_recipe_its_file(monkeypatch, words, script, handed_on):
    asked = []
    module = SimpleNamespace(main=lambda: asked.append((sys.argv, command_line())))
    monkeypatch.setattr(amif_command, "load_script", lambda name: asked.append(name) or module)
    monkeypatch.setattr(sys, "argv", ["/bin/amif", *words.split()])
    amif_command.main()
    command = words.split()[0]
    assert asked[0] == script
    assert asked[1][0] == [f"amif {command}", *handed_on]
    assert asked[1][1].startswith(f"amif {command}")


def test_a_library_that_is_missing_is_named(monkeypatch):
    def missing(_):
        raise ModuleNotFoundError("No module named 'rich'", name="rich")

    monkeypatch.setattr(amif_command, "load_script", missing)
    monkeypatch.setattr(sys, "argv", ["amif", "audit"])
    with pytest.raises(SystemExit, match=r'amif audit needs rich: pip install "amif\[eval\]"'):
        amif_command.main()


@pytest.mark.parametrize("command", RECIPES)
def test_every_recipe_is_taken_by_its_command(command):
    files = {path for path in (ROOT / "examples" / "recipes").rglob("*") if path.is_file()}
    assert {path.resolve() for found in RECIPES.values() for path in found.values()} == files
    for name, path in RECIPES[command].items():
        types = (VqaModelArguments, FineTuningDataArguments, AmifVqaArguments)
        # What the authors' code has otherwise comes behind a recipe; encoders may be named on the command line.
        files = [RECIPES[command].get(name.removesuffix("_authors_code"), path), path]
        values = {key: value for file in files for key, value in yaml.safe_load(file.read_text()).items()}
        if "vision_layers" in values:
            values = {"vision_model": "v", "text_model": "t"} | values
        if isinstance(sets := values.get("dataset"), list):  # whose folders stand on the command line
            values = values | {"data_dir": sets}
        if command == "pretrain":
            objective = OBJECTIVES[values.get("objective", "amif")]
            types = (objective.model_arguments, PretrainingDataArguments, objective.arguments)
        arguments_of(types, values, name)
