"""accelerate reads the configurations as they are meant."""

import os
from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from started_scripts import run_script

EXAMPLES = Path(__file__).parents[2] / "examples"
# What parsers of their own ask for.
ARGUMENTS = {"answer.py": ["image.png", "what?"], "visualize.py": ["transport", "--models", "model", "--phantom", "0"]}
FOLDER = Path(__file__).parents[2] / "examples" / "accelerate_configs"
MEANT = {
    "one_gpu": {"multi_gpu": False, "use_fsdp": False, "use_deepspeed": False, "num_processes": 1},
    "two_gpus": {"multi_gpu": True, "use_fsdp": False, "use_deepspeed": False, "num_processes": 2},
    "several_gpus": {"multi_gpu": True, "use_fsdp": False, "use_deepspeed": False},
    "fsdp": {"multi_gpu": False, "use_fsdp": True, "fsdp_version": 2, "fsdp_cpu_ram_efficient_loading": False},
    "deepspeed_zero2": {"multi_gpu": False, "use_deepspeed": True, "zero_stage": 2},
}


def test_there_are_no_others():
    assert {path.stem for path in FOLDER.iterdir()} == set(MEANT)


@pytest.mark.parametrize("name", MEANT)
def test_accelerate_reads_it(name):
    arguments = launch_command_parser().parse_args(["--config_file", str(FOLDER / f"{name}.yaml"), "script.py"])
    arguments, *_ = _validate_launch_command(arguments)
    assert {key: getattr(arguments, key) for key in MEANT[name]} == MEANT[name]
    assert arguments.mixed_precision == "bf16"


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_scripts_started_for_gpus_end_at_once_without_them(tmp_path, script):
    """They ran on the CPU, four on each core; the launcher ends all when the first does."""
    environment = os.environ | {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "RANK": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = run_script(script, *ARGUMENTS.get(script, []), folder=tmp_path, environment=environment)
    said = done.stderr.strip().splitlines()[-1]
    if script in ("run_vqa.py", "run_pretraining.py"):
        assert "error: No GPU can be seen on this machine, and the launcher started 4 processes" in said
    else:
        assert "4 processes were started, and this script runs in one" in said
    assert done.returncode in (1, 2)
    assert not list(tmp_path.iterdir())
