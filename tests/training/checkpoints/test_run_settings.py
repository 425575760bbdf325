"""What a resumed run must share with the one it goes on with, and what may differ."""

import json
import shutil
from dataclasses import replace

import pytest
from datasets import concatenate_datasets
from safetensors.torch import save_file
from small_runs import build_data, build_processor, trainer
from torch import zeros

from amif import AmifVqaArguments
from amif.training.checkpoints import run_settings
from amif.training.checkpoints.run_settings import RUN_SETTINGS_NAME, RunSettings
from amif.training.data.mixtures import with_set_name
from amif.training.fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments


def settings(data=None, **changes):
    """Of a run, with changed arguments of any of its dataclasses."""
    training = AmifVqaArguments(use_cpu=True)
    for name in [name for name in changes if hasattr(training, name)]:
        setattr(training, name, changes.pop(name))
    sets = {"also_train_on": ["slake=DIR"]} if "mixing" in changes else {}
    parts = [
        replace(part, **{name: changes[name] for name in changes if hasattr(part, name)})
        for part in (VqaModelArguments(), FineTuningDataArguments("rows.csv", **sets))
    ]
    return RunSettings.of(training, parts, data, data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 1e-3}, "--learning_rate is 0.001 here and 2e-05 there"),
        ({"seed": 7}, "--seed is 7 here and 42 there"),
        ({"per_device_train_batch_size": 3}, "--per_device_train_batch_size is 3 here and 64 there"),
        ({"num_train_epochs": 61}, "--num_train_epochs is 61 here and 60 there"),
        ({"freeze_vision_encoder": True}, "--freeze_vision_encoder is true here and false there"),
        ({"knowledge": "none"}, "--knowledge is none here and answers there"),
        ({"hidden_size": 64, "refit": True}, "--hidden_size is 64 here and 128 there; --refit is true here and false"),
        ({"also_train_on": ["slake=one"]}, r'--also_train_on is \["slake"\] here and null there'),
        ({"dataset": "other.csv"}, r"--dataset is other\.csv here and rows\.csv there"),
        ({"output_dir": "elsewhere", "logging_steps": 1, "per_device_eval_batch_size": 2}, None),
        ({"dataloader_num_workers": 4, "save_steps": 9, "hub_token": "secret", "disable_tqdm": True}, None),
        ({"dataset": "moved/rows.csv", "data_dir": "moved", "image_dir": "moved"}, None),
        ({"eval_split": "validation", "grounding_shuffles": 3, "abstention_error_rate": 0.1}, None),
        ({"measure_knowledge": True}, None),
    ],
)
def test_what_changes_the_weights_is_named_and_the_rest_may_differ(tmp_path, change, said):
    settings().write(tmp_path)
    if said is None:
        settings(**change).check(tmp_path)
        assert "secret" not in (tmp_path / RUN_SETTINGS_NAME).read_text()
        return
    with pytest.raises(ValueError, match=f"was trained by other settings than this command's: {said}.*another --outp"):
        settings(**change).check(tmp_path)


def test_other_rows_are_named_and_moved_ones_are_the_same(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    rows, moved = build_data(tmp_path / "one"), build_data(tmp_path / "two")
    settings(rows).write(tmp_path)
    settings(moved).check(tmp_path)
    settings().check(tmp_path)  # not read, and so not compared
    for other in (rows.select(range(20)), concatenate_datasets([rows.select(range(1, 24)), rows.select([0])])):
        with pytest.raises(ValueError, match=r"training data is \d\d rows, .* here and 24 rows, .*validation data"):
            settings(other).check(tmp_path)


def test_of_several_sets_the_one_that_has_changed_is_named(tmp_path):
    rows = build_data(tmp_path)
    one, two = with_set_name(rows.select(range(10)), "one"), with_set_name(rows.select(range(10, 24)), "two")
    settings(concatenate_datasets([one, two]), mixing=["2", "1"]).write(tmp_path)
    with pytest.raises(ValueError, match=r"--mixing is equal here .*data, two is 3 rows, .* and 14 rows") as error:
        settings(concatenate_datasets([one, two.select(range(3))]), mixing="equal").check(tmp_path)
    assert "data, one" not in str(error.value)


def test_a_start_is_its_weights_wherever_they_lie(tmp_path):
    for name, value in (("one", 0), ("two", 1)):
        (tmp_path / name).mkdir()
        save_file({"weight": zeros(2) + value}, tmp_path / name / "model.safetensors")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    settings(model_name_or_path=str(tmp_path / "one")).write(tmp_path)
    settings(model_name_or_path=str(tmp_path / "copy")).check(tmp_path)
    with pytest.raises(ValueError, match=r"--model_name_or_path is weights .* here and weights .* there"):
        settings(model_name_or_path=str(tmp_path / "two")).check(tmp_path)
    with pytest.raises(ValueError, match=r"--model_name_or_path is null here and weights .* there"):
        settings().check(tmp_path)


@pytest.mark.parametrize("content", [None, "", "5", "{}", '{"values": {"--learn', '{"values": []}', "[" * 20_000])
def test_a_run_that_does_not_say_is_gone_on_with_aloud(tmp_path, monkeypatch, content):
    said = []
    monkeypatch.setattr(run_settings.logger, "warning", said.append)
    if content is not None:
        (tmp_path / RUN_SETTINGS_NAME).write_text(content)
    settings().check(tmp_path)
    assert len(said) == 1
    assert "whether this command's arguments and data are its own is not checked" in said[0]


def test_a_checkpoint_keeps_the_settings_of_its_run_whatever_was_begun_in_the_folder_later(tmp_path):
    data, processor = build_data(tmp_path), build_processor()
    own, other = settings(data), settings(data, seed=7)
    schedule = {"save_strategy": "epoch", "num_train_epochs": 1}
    first = trainer(tmp_path / "out", processor, data, **schedule)
    first.run_settings = own
    first.train()
    first.save_state()
    for folder in (tmp_path / "out", tmp_path / "out" / "checkpoint-3"):
        assert json.loads((folder / RUN_SETTINGS_NAME).read_text())["values"]["--learning_rate"] == 2e-5
    other.write(tmp_path / "out")  # a second run, killed before its first checkpoint
    second = trainer(tmp_path / "out", processor, data, **schedule)
    second.run_settings = other
    with pytest.raises(ValueError, match=r"checkpoint-3 was trained by other .* --seed is 7 here and 42 there"):
        second.train(resume_from_checkpoint=True)
    assert (tmp_path / "out" / "trainer_state.json").is_file(), "what was there is as it was"


def test_a_run_that_left_no_checkpoint_is_not_written_over_by_other_settings(tmp_path):
    """Asked to go on with it for more epochs, the run began anew in its folder."""
    data, processor = build_data(tmp_path), build_processor()
    other = settings(data, num_train_epochs=2)
    settings(data).write(tmp_path)
    second = trainer(tmp_path, processor, data, num_train_epochs=2)
    second.run_settings = other
    with pytest.raises(ValueError, match=r"was trained by other settings .* --num_train_epochs is 2 here and 60 there"):
        second.train(resume_from_checkpoint=True)
