import json
import subprocess
import sys
from pathlib import Path

import pytest

import amif
import amif.training.data

# In the clone's root, where the folders behind the links could be imported by names of their own, too.
CODE = """
import json, sys
import amif
from transformers import AutoConfig, AutoModel, AutoProcessor
print(json.dumps([type(AutoConfig.for_model("amif")).__name__, sorted(sys.modules)]))
amif.AmifPreTrainer, amif.AgaPreTrainer, amif.MpmaPreTrainer
print(json.dumps(sorted(sys.modules)))
[getattr(amif, name) for name in amif.__all__]
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def fresh():
    """The configuration's name, and what is imported by amif, by its pre-trainers and by all its public names."""
    command = [sys.executable, "-c", CODE]
    root = Path(__file__).parents[1]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    (name, modules), *later = map(json.loads, run.stdout.splitlines())
    return name, modules, *later


def test_import_registers_and_stays_light(fresh):
    """Without the training libraries that the Auto classes do not need."""
    name, modules, *_ = fresh
    assert name == "AmifConfig"
    assert not {"datasets", "evaluate", "open_clip", "ot"} & set(modules)
    assert not [module for module in modules if module.startswith("amif.training.")]


def test_a_pre_trainer_loads_nothing_that_measures_or_draws(fresh):
    """transformers itself loads `scipy.optimize`."""
    *_, modules, _ = fresh
    assert {f"amif.training.pretraining.{name}_trainer" for name in ("amif", "aga", "mpma")} <= set(modules)
    assert not {"sacrebleu", "scipy.stats", "amif.training.reports"} & set(modules)


def test_modules_have_one_name(fresh):
    """Each file behind the links in amif/ is imported once."""
    *_, modules = fresh
    assert "amif.training.fine_tuning.trainer" in modules
    assert not {module.split(".")[0] for module in modules} & {"training", "modeling_amif", "processing_amif"}


def test_public_names():
    for name in amif.__all__:
        assert getattr(amif, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = amif.Nothing


@pytest.mark.parametrize("package", [amif, amif.processing_amif, amif.training.data])
def test_names_that_are_imported_later_are_listed(package):
    """help() and completion look there."""
    assert set(package.__all__) <= set(dir(package))
