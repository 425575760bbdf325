"""What a training step of the main job costs, beside the rate of matrix products, and what compiling it brings.

`-s` prints the figures of docs/performance.md; `OMP_NUM_THREADS=1` and `taskset` make them those of one core.
"""

import time
from statistics import median

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from amif import AmifVqaArguments, AmifVqaTrainer
from amif.examples.run_vqa import ARGUMENTS, DEFAULT_RECIPE
from amif.training.data.phantom import load_phantom_vqa
from amif.training.fine_tuning.model import build_model
from amif.training.recipes import arguments_of, read_recipe

pytestmark = pytest.mark.slow

STEPS, SQUARE = 12, 512


def matrix_rate():
    """FLOP a CPU second of float32 matrix products."""
    left, right = torch.rand(SQUARE, SQUARE), torch.rand(SQUARE, SQUARE)
    left @ right
    start = time.process_time()
    for _ in range(20):
        left @ right
    return 20 * 2 * SQUARE**3 / (time.process_time() - start)


@pytest.fixture(params=["phantom", "phantom_adamw"])
def trainer(request, tmp_path):
    recipe = DEFAULT_RECIPE.with_name(f"{request.param}.yaml")
    values = read_recipe(recipe) | {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False}
    values |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    model_args, data_args, args = arguments_of(ARGUMENTS, values, "the recipe")
    splits = load_phantom_vqa(num_studies=360)
    torch.manual_seed(0)
    model, processor = build_model(model_args, data_args, splits, training=True)
    assert isinstance(args, AmifVqaArguments)
    return AmifVqaTrainer(model, args, splits["train"], processing_class=processor)


def seconds_of(trainer, model, batches):
    """CPU seconds of each step, and those on the clock; the first step may compile."""
    optimizer, seconds, clock = trainer.create_optimizer(), [], []
    model.train()
    for batch in batches:
        start, begun = time.process_time(), time.perf_counter()
        trainer.compute_loss(model, batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - start)
        clock.append(time.perf_counter() - begun)
    return seconds, clock


def batches_of(trainer):
    return [batch for batch, _ in zip(trainer.get_train_dataloader(), range(STEPS), strict=False)]


def test_a_step(trainer):
    batches = batches_of(trainer)
    with FlopCounterMode(display=False) as counter:
        trainer.compute_loss(trainer.model.train(), batches[0]).backward()
    trainer.model.zero_grad()
    seconds, clock = map(median, seconds_of(trainer, trainer.model, batches))
    flops, rate = counter.get_total_flops(), matrix_rate()
    print(
        f"{torch.get_num_threads()} threads: {flops / 1e9:.2f} GFLOP a step, {seconds:.3f} CPU s, {clock:.3f} s on the "
        f"clock; {flops / seconds / 1e9:.0f} of {rate / 1e9:.0f} GFLOP a CPU s"
    )
    assert flops / seconds > 0.1 * rate


def test_a_compiled_step(trainer):
    batches = batches_of(trainer)
    seconds, clock = seconds_of(trainer, torch.compile(trainer.model), batches)
    said = ", ".join(f"{second:.2f}" for second in clock)
    print(f"compiled: {sum(seconds):.0f} CPU s for {len(batches)} steps, seconds on the clock {said}")
