"""The trainer with FSDP 2 on two processes ends, resumes and answers as one process with the whole model does.

accelerate spreads weights on accelerators alone: its state gives up FSDP where every device is a CPU. Here it is told
otherwise; all that follows, which is the trainer's and accelerate's own, is what a GPU runs.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, DistributedType
from safetensors.torch import load_file
from small_models import small_model
from small_runs import build_data, build_processor, trainer
from started_scripts import run_two
from torch.distributed.tensor import DTensor

from amif.training.fine_tuning import training_arguments

pytestmark = pytest.mark.slow

ARGUMENTS = {"num_train_epochs": 2, "learning_rate": 1e-3, "save_strategy": "epoch", "eval_strategy": "epoch"}
ARGUMENTS |= {"load_best_model_at_end": True, "save_total_limit": None, "per_device_eval_batch_size": 5}
# What accelerate's launcher makes of examples/accelerate_configs/fsdp.yaml.
CONFIGURED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}


def test_two_processes_with_fsdp_do_what_one_does(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    processor, data = build_processor(), build_data(images)
    whole = trainer(tmp_path / "whole", processor, data, without_dropout(), **ARGUMENTS)
    whole.train()
    whole.save_model(str(tmp_path / "whole" / "saved"))
    answers, scores = whole.predict_answers(data)
    run_two(__file__, tmp_path)
    expected = load_file(tmp_path / "whole" / "saved" / "model.safetensors")
    for name in ("spread", "resumed"):
        for rank in (0, 1):
            report = torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True)
            assert report["spread"] == [2, True], "there were two, and every weight lay on both"
            assert report["answers"] == answers
            assert report["scores"] == pytest.approx(scores, abs=1e-4)
        saved = load_file(tmp_path / name / "saved" / "model.safetensors")
        assert saved.keys() >= expected.keys(), "tied weights may be there twice"
        for key, value in expected.items():
            torch.testing.assert_close(saved[key], value, rtol=0, atol=1e-2, msg=f"{name} {key}")
    spread, resumed = (load_file(tmp_path / name / "saved" / "model.safetensors") for name in ("spread", "resumed"))
    for key, value in spread.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=1e-6, msg=key)


def without_dropout():
    model = small_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def spread_on_cpus():
    """Let accelerate keep FSDP where all devices are CPUs, and the arguments ask for it there."""
    training_arguments.choose_device_and_precision = lambda args: None
    os.environ.update(CONFIGURED)
    begin, kept = AcceleratorState.__init__, []

    def begin_with_fsdp(state, *args, fsdp_plugin=None, **kwargs):
        begin(state, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        kept.extend([fsdp_plugin] if fsdp_plugin is not None else [])
        if kept and state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, kept[-1]

    AcceleratorState.__init__ = begin_with_fsdp


def train_and_tell(folder, name, processor, data, checkpoint=None):
    run = trainer(folder / name, processor, data, without_dropout(), **ARGUMENTS, per_device_train_batch_size=4)
    run.train(resume_from_checkpoint=checkpoint)
    run.save_model(str(folder / name / "saved"))
    answers, scores = run.predict_answers(data)
    weights = list(run.model.parameters())
    spread = [run.args.world_size, all(isinstance(weight, DTensor) for weight in weights)]
    rank = run.args.process_index
    torch.save({"answers": answers, "scores": scores, "spread": spread}, folder / f"{name}-{rank}.pt")


def main(folder):
    spread_on_cpus()
    folder, processor = Path(folder), build_processor()
    data = build_data(folder / "images")
    train_and_tell(folder, "spread", processor, data)
    train_and_tell(folder, "resumed", processor, data, str(folder / "spread" / "checkpoint-3"))


if __name__ == "__main__":
    main(*sys.argv[1:])
