"""Answering a split and measuring the answers, without a script."""

import pytest
from datasets import DatasetDict
from small_runs import build_data, build_processor, trainer

from amif.training.fine_tuning.arguments import FineTuningDataArguments
from amif.training.fine_tuning.evaluation import evaluate


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_data(tmp_path_factory.mktemp("images"))


def test_an_image_without_an_alike_one_is_left_out_of_all_that_is_measured(tmp_path, processor, data):
    kinds = ["ct" if image_id == "0" else "mr" for image_id in data["image_id"]]
    splits = DatasetDict({"train": data, "test": data.add_column("modality", kinds)})
    data_args = FineTuningDataArguments(ablate_image="shuffle_alike")
    evaluation = evaluate(trainer(tmp_path, processor, data), splits, "test", data_args, "own")
    assert len(evaluation.rows) == len(data) - kinds.count("ct") == 22
    measured = [evaluation.metrics.scores.overall, *evaluation.metrics.baselines.values()]
    assert [one.n for one in measured] == [22, 22, 22, 11, 22]


def test_states_of_exchanged_images_are_dropped_when_they_are_answered(tmp_path, processor, data):
    """A frozen encoder's states of a whole split, a set a shuffle, would fill the memory."""
    run = trainer(tmp_path, processor, data, freeze_vision_encoder=True)
    splits = DatasetDict({"train": data, "test": data})
    evaluate(run, splits, "test", FineTuningDataArguments(grounding_shuffles=2), "own")
    assert [rows.dataset["image_id"][:] for rows in run._prepared_rows.values()] == [data["image_id"][:]]
