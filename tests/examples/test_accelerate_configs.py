"""accelerate reads the configurations as they are meant."""

from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

FOLDER = Path(__file__).parents[2] / "examples" / "accelerate_configs"
MEANT = {
    "one_gpu": {"multi_gpu": False, "use_fsdp": False, "use_deepspeed": False, "num_processes": 1},
    "two_gpus": {"multi_gpu": True, "use_fsdp": False, "use_deepspeed": False, "num_processes": 2},
    "several_gpus": {"multi_gpu": True, "use_fsdp": False, "use_deepspeed": False},
    "fsdp": {"multi_gpu": False, "use_fsdp": True, "fsdp_version": 2, "fsdp_state_dict_type": "FULL_STATE_DICT"},
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
