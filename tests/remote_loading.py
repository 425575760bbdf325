"""Checkpoints where amif and what it trains with are not installed."""

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from started_scripts import LIBRARIES, LoadedPython
from transformers import PreTrainedModel

WITHOUT_AMIF = """
import sys
for name in ("amif", "datasets", "evaluate", "nibabel", "open_clip", "ot", "peft", "pydicom"):
    sys.modules[name] = None
"""

COMPARISON = """
import torch
from transformers import AutoModel
folder, name = sys.argv[1:]
inputs, expected = torch.load(folder + "/expected.pt", weights_only=True)
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
assert type(model).__module__.startswith("transformers_modules"), type(model)
with torch.no_grad():
    assert torch.equal(model(**inputs)[name], expected)
print("equal")
"""


@cache
def _python_without_amif() -> tuple[LoadedPython, TemporaryDirectory[str]]:
    modules = TemporaryDirectory()
    return LoadedPython(WITHOUT_AMIF + LIBRARIES, os.environ | {"HF_MODULES_CACHE": modules.name}), modules


def run_without_amif(script: str, *arguments: str | Path) -> str:
    """What a script prints in a process of its own that cannot import amif, in an empty folder."""
    python, _ = _python_without_amif()
    with TemporaryDirectory() as folder:
        done = python.run("-c", "import sys\n" + script, *arguments, folder=Path(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout


@torch.no_grad()
def check_loads_without_amif(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], output: str, folder: Path
) -> None:
    """Save `model`, load it in another process by the code beside the weights, and compare its `output` on `inputs`."""
    model.save_pretrained(folder)
    torch.save((inputs, model(**inputs)[output]), folder / "expected.pt")
    assert run_without_amif(COMPARISON, folder, output).strip().endswith("equal")
