"""Checkpoints where amif and what it trains with are not installed."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import PreTrainedModel

WITHOUT_AMIF = """
import sys
for name in ("amif", "datasets", "evaluate", "open_clip", "ot", "peft", "pydicom"):
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


def run_without_amif(script: str, *arguments: str | Path) -> str:
    """What a script prints in a process of its own that cannot import amif, in an empty folder."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_AMIF + script, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | {"HF_MODULES_CACHE": f"{folder}/modules"},
            check=False,
        )
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
