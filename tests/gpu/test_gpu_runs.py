"""Whole runs on a GPU: the main job, resumed, launched by the configurations, with a teacher, and transport there."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from measured_runs import DEVICE, fine_tuning_trainer, weights_of
from pretraining_runs import small_studies
from small_models import small_config, small_processor

from amif import AmifForPreTraining, AmifForVisualQuestionAnswering, AmifPreTrainer, AmifPreTrainingArguments
from amif.training.losses import transport_cost, transport_plan
from amif.training.pretraining.teacher import add_teacher_embeddings, load_teacher

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

ROOT = Path(__file__).parents[2]
SHORT = ["--num_studies", "60", "--num_train_epochs", "1", "--per_device_train_batch_size", "32"]


def run(folder, *words):
    """A script in a process of its own, which prints what failed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_main_job_reaches_what_it_does_on_a_cpu(tmp_path):
    """90.7 to 92.3 % in float32 and bfloat16 on two cores."""
    run(tmp_path, ROOT / "examples" / "run_vqa.py")
    metrics = json.loads((tmp_path / "amif-vqa" / "metrics.json").read_text())
    assert metrics["overall"]["accuracy"] > 90


@pytest.mark.parametrize("configuration", ["one_gpu", "fsdp", "deepspeed_zero2"])
def test_configurations_on_one_gpu(tmp_path, configuration):
    """Each trains, evaluates and leaves a whole checkpoint, which answers as it did, by itself."""
    if configuration == "deepspeed_zero2" and find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed")
    file = ROOT / "examples" / "accelerate_configs" / f"{configuration}.yaml"
    launch = ["-m", "accelerate.commands.launch", "--config_file", file, "--num_processes", 1]
    script = ROOT / "examples" / "run_vqa.py"
    run(tmp_path, *launch, script, *SHORT, "--output_dir", "trained")
    again = ["--model_name_or_path", "trained", "--do_train", "false", "--dataset", "phantom", "--num_studies", 60]
    run(tmp_path, script, *again, "--output_dir", "again", "--bf16")
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("trained", "again"))
    assert first["overall"]["n"] == second["overall"]["n"] > 0
    # A batch of another size may turn an answer whose candidates are nearly alike.
    assert first["overall"]["accuracy"] == pytest.approx(second["overall"]["accuracy"], abs=5)


def test_run_that_is_gone_on_with_ends_where_the_whole_one_does(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 4, "max_steps": 8, "save_total_limit": None, "studies": 30}
    whole, resumed = (fine_tuning_trainer(tmp_path, None, 8, **options) for _ in range(2))
    start = weights_of(whole.model)
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    ends = weights_of(whole.model), weights_of(resumed.model)
    way = sum((ends[0][name] - start[name]).square().sum() for name in start).sqrt()
    apart = sum((ends[0][name] - ends[1][name]).square().sum() for name in start).sqrt()
    assert way > 0
    assert apart < 0.01 * way, "sums on a GPU differ in their last bits from run to run, and no more"


def test_online_teacher_says_what_the_cached_one_does(tmp_path):
    """Where nothing is augmented they embed the same images and texts."""
    AmifForPreTraining(small_config()).save_pretrained(tmp_path / "teacher")
    small_processor().save_pretrained(tmp_path / "teacher")
    spec = f"amif:{tmp_path / 'teacher'}"
    options = {"max_steps": 3, "logging_steps": 1, "per_device_train_batch_size": 6, "learning_rate": 1e-3}
    options |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    losses = {}
    for mode in ("cached", "online"):
        teacher = load_teacher(spec, DEVICE) if mode == "online" else None
        studies = small_studies()
        if teacher is None:
            studies = add_teacher_embeddings(studies, spec, DEVICE, cache_dir=tmp_path / "cache")
        torch.manual_seed(0)
        model = AmifForPreTraining(small_config())
        args = AmifPreTrainingArguments(output_dir=str(tmp_path / mode), **options)
        trainer = AmifPreTrainer(
            model, args, teacher=teacher, train_dataset=studies["train"], processing_class=small_processor()
        )
        trainer.train()
        losses[mode] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses["online"] == pytest.approx(losses["cached"], rel=1e-3)


def test_ipot_reaches_the_optimum_on_the_device():
    draw = torch.Generator().manual_seed(0)
    image, text = (torch.randn(16, length, 64, generator=draw).to(DEVICE) for length in (325, 120))
    mask = (torch.arange(120) < torch.randint(20, 121, (16, 1), generator=draw)).to(DEVICE)
    cost = transport_cost(image, text)
    plan = transport_plan(cost, column_mask=mask, solver="ipot")
    assert plan.device.type == DEVICE
    optimum = (transport_plan(cost.cpu(), column_mask=mask.cpu(), solver="emd") * cost.cpu()).sum((1, 2))
    assert ((plan * cost).sum((1, 2)).cpu() <= 1.01 * optimum).all()


def test_answers_on_the_gpu_are_those_of_a_cpu(tmp_path):
    """Their scores, from the same checkpoint in float32."""
    trainer = fine_tuning_trainer(tmp_path, None, 8, studies=30, max_steps=2)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    processor, rows = trainer.processing_class, trainer.eval_dataset.select(range(6))
    inputs = processor(images=rows["image"][:], text=rows["question"][:])
    answers = processor.encode_candidates(trainer.candidates)
    scores = []
    for device in ("cpu", DEVICE):
        model = AmifForVisualQuestionAnswering.from_pretrained(tmp_path / "saved").to(device).eval()
        ranked = model.rank_answers(**inputs.to(device), answers=answers.to(device), top_k=3)
        scores.append(ranked.scores.cpu())
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-3)
