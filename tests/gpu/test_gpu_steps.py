"""Steps of the paper's size, in bfloat16: that they learn, and what memory and time they take."""

import pytest
import torch
from measured_runs import check_learned, fine_tuning_trainer, measured, pretraining_trainer, weights_of

from amif import AmifConfig

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

# The batch of the main process: the paper's 256 studies are 128 on each of two GPUs.
QUESTIONS, STUDIES = 64, 128


def test_fine_tuning(tmp_path, capsys):
    trainer = fine_tuning_trainer(tmp_path, AmifConfig(), QUESTIONS, bf16=True)
    start = weights_of(trainer.model)
    with capsys.disabled(), measured(trainer, f"fine-tuning, {QUESTIONS} questions", QUESTIONS):
        trainer.train()
    check_learned(trainer, start)


@pytest.mark.parametrize("stage", ["global", "local"])
def test_pretraining(tmp_path, capsys, stage):
    trainer = pretraining_trainer(tmp_path, AmifConfig(), stage, STUDIES, bf16=True)
    start = weights_of(trainer.model)
    with capsys.disabled(), measured(trainer, f"pre-training, stage {stage}, {STUDIES} studies", STUDIES):
        trainer.train()
    check_learned(trainer, start)


def test_compiled_model_learns_what_the_plain_one_does(tmp_path):
    losses = {}
    for compiled in (False, True):
        trainer = fine_tuning_trainer(tmp_path / str(compiled), AmifConfig(), 16, max_steps=4, torch_compile=compiled)
        trainer.train()
        losses[compiled] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[True] == pytest.approx(losses[False], rel=1e-2)
