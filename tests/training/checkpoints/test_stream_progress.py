"""Runs on streams: each epoch's studies once, and an interrupted run ends as the uninterrupted one."""

from collections import Counter

import pytest
import torch
from pretraining_runs import pretrainer, small_studies
from small_runs import build_data, build_processor, trainer
from torch.testing import assert_close

from amif.training.data import AmifPreTrainingCollator, StrongAugmentation
from amif.training.small_model import small_pretraining_model

STEPS = {"max_steps": 6, "per_device_train_batch_size": 10, "learning_rate": 1e-3, "logging_steps": 2}
SAVED = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": None, "shuffle_buffer_size": 7}
UNEVALUATED = {"eval_strategy": "no", "load_best_model_at_end": False}


def run(folder, **arguments):
    torch.manual_seed(0)
    studies = {"train": small_studies()["train"].to_iterable_dataset(num_shards=4), "validation": None}
    options = STEPS | SAVED | UNEVALUATED | arguments
    return pretrainer("amif", folder, small_model(), studies=studies, augmentation=StrongAugmentation(32), **options)


def small_model():
    from small_models import small_processor

    return small_pretraining_model(small_processor(), 32, 32)


@pytest.fixture
def drawn(monkeypatch):
    """Epochs and study ids of each batch that a step has learned from, as far as one process reads."""
    batches, collate = [], AmifPreTrainingCollator.__call__

    def record(collator, rows):
        batches.append([(row["epoch"], row["study_id"]) for row in rows])
        return collate(collator, rows)

    monkeypatch.setattr(AmifPreTrainingCollator, "__call__", record)
    return batches


@pytest.mark.parametrize("arguments", [{}, {"gradient_accumulation_steps": 2}, {"dataloader_num_workers": 2}])
def test_a_resumed_run_ends_as_the_uninterrupted_one(tmp_path, arguments):
    whole, resumed = (run(tmp_path, **arguments) for _ in range(2))
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert_close(value, expected[name], rtol=0, atol=1e-6, msg=name)
    assert [entry["stream_epoch"] for entry in whole.state.log_history if "loss" in entry][-1] >= 1
    epochs = [
        [(entry["step"], entry["epoch"]) for entry in run.state.log_history if "loss" in entry]
        for run in (whole, resumed)
    ]
    assert epochs[0] == epochs[1]
    again = run(tmp_path, **arguments)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert again.state.global_step == 6, "a run that has all its steps makes no other"


def test_each_study_comes_once_an_epoch_and_no_batch_is_read_twice(tmp_path, drawn):
    run(tmp_path).train()
    whole = list(drawn)
    counts = Counter(one for batch in whole for one in batch)
    assert set(counts.values()) == {1}
    assert sum(epoch == 0 for epoch, _ in counts) == len(small_studies()["train"]) == 42
    drawn.clear()
    run(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    # The loader reads one batch ahead of the last step.
    assert drawn == whole[4:]


def test_what_a_checkpoint_cannot_go_on_with_is_said(tmp_path):
    run(tmp_path, max_steps=2).train()
    folder = tmp_path / "checkpoint-2"
    for other, message in (
        ({"dataloader_num_workers": 2}, r"--dataloader_num_workers: 2 here, 0 there\). Give its own"),
        ({"shuffle_buffer_size": 9}, "--shuffle_buffer_size: 9 here, 7 there"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path, **other).train(resume_from_checkpoint=str(folder))


def test_a_run_of_questions_goes_on_in_its_stream(tmp_path):
    data, processor = build_data(tmp_path), build_processor()
    arguments = {"max_steps": 5, "learning_rate": 1e-3, "per_device_train_batch_size": 7, **SAVED}

    def run():
        made = trainer(tmp_path, processor, data, **arguments)
        return type(made)(
            made.model, made.args, data.to_iterable_dataset(num_shards=3), None, processor, made.candidates
        )

    whole, resumed = run(), run()
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert_close(value, expected[name], rtol=0, atol=1e-6, msg=name)
