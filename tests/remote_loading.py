"""A checkpoint of pre-training where amif and what it trains with are not installed."""

import subprocess
import sys
from pathlib import Path

import torch
from transformers import PreTrainedModel

SCRIPT = """
import sys
for name in ("amif", "datasets", "evaluate", "open_clip", "ot"):
    sys.modules[name] = None
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


@torch.no_grad()
def check_loads_without_amif(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], output: str, folder: Path
) -> None:
    """Save `model`, load it in another process by the code beside the weights, and compare its `output` on `inputs`."""
    model.save_pretrained(folder)
    torch.save((inputs, model(**inputs)[output]), folder / "expected.pt")
    command = [sys.executable, "-c", SCRIPT, str(folder), output]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert run.stdout.strip().endswith("equal"), run.stderr
