from dataclasses import fields

import pytest
from datasets import Dataset, DatasetDict
from small_models import small_model

from amif.training import model_arguments
from amif.training.data.names import PAIR_SETS
from amif.training.pretraining.aga_trainer import AgaPreTrainingArguments
from amif.training.pretraining.amif_trainer import AmifPreTrainingArguments
from amif.training.pretraining.arguments import (
    AgaModelArguments,
    MpmaModelArguments,
    PairArguments,
    PretrainingDataArguments,
    PretrainingModelArguments,
)
from amif.training.pretraining.mpma_trainer import MpmaPreTrainingArguments


def test_a_configuration_is_told_what_is_given_and_what_its_objective_has():
    shared = {"image_pooling": 2, "pooling_mode": "mean", "num_co_attention_layers": 6}
    shared["attention_probs_dropout_prob"] = 0.1
    shared["vision_feature_layer"] = [1, 2]
    given = {"image_pooling": 2, "pooling_mode": "mean", "vision_feature_layer": [1, 2]}
    assert PretrainingModelArguments(**given).config == shared
    assert AgaModelArguments(gate="fixed", **given).config == shared | {"gate": "fixed", "local_adaptors": True}
    assert MpmaModelArguments(memory_size=0, **given).config == shared | {"memory_size": 0, "fusion": "attention"}


def test_a_run_starts_from_a_checkpoint_from_encoders_or_from_nothing():
    assert PretrainingModelArguments().start is None
    assert PretrainingModelArguments(vision_model="v", text_model="t").start == "v"
    assert PretrainingModelArguments(model_name_or_path="one", vision_model="v", text_model="t").start == "one"


def test_one_encoder_alone_is_refused():
    with pytest.raises(ValueError, match="together"):
        PretrainingModelArguments(vision_model="v")
    with pytest.raises(ValueError, match="shorten --vision_model"):
        PretrainingModelArguments(text_layers=1)


def test_what_a_checkpoint_keeps_is_named(monkeypatch):
    config, heard = small_model().config, []
    monkeypatch.setattr(model_arguments.logger, "warning", heard.append)
    PretrainingModelArguments(model_name_or_path="one").warn_of_unlike(config)
    PretrainingModelArguments(hidden_size=7).warn_of_unlike(config)
    own = config.num_co_attention_layers
    PretrainingModelArguments(model_name_or_path="one", num_co_attention_layers=own).warn_of_unlike(config)
    assert heard == []
    unlike = {"pooling_mode": "mean", "image_size": 7, "num_attention_heads": 8, "vision_feature_layer": [1]}
    PretrainingModelArguments(model_name_or_path="one", **unlike).warn_of_unlike(config)
    assert heard == [
        "--num_attention_heads 8 is for a new model: the checkpoint's stays 4.",
        "--vision_feature_layer [1] is for a new model: the checkpoint's stays None.",
        "--pooling_mode mean is for a new model: the checkpoint's stays cls.",
        f"--image_size 7 is for a new model: the checkpoint's stays {config.vision_config.image_size}.",
    ]


def test_the_sources_are_those_that_are_learned_from():
    assert PretrainingDataArguments(dataset="roco").sources == ["roco"]
    pairs = PretrainingDataArguments(dataset="vqa_pairs", vqa_dataset="slake", add_vqa_pairs=["vqa_rad=DIR"])
    assert pairs.sources == ["slake", "vqa_rad=DIR"]


def test_sets_without_a_validation_split_are_named(monkeypatch):
    rows, read = Dataset.from_dict({"question": ["why?"]}), []

    def load(name, data_dir, **options):
        read.append((name, data_dir, options))
        return DatasetDict({"train": rows, **({} if name == "vqa_rad" else {"validation": rows})})

    monkeypatch.setattr("amif.training.data.vqa_dataset.load_vqa_dataset", load)
    monkeypatch.setattr("amif.training.data.mixtures.has_validation", lambda source: source.startswith("slake"))
    made_of = {"dataset": "vqa_pairs", "data_dir": "DIR", "add_vqa_pairs": ["slake=ONE", "path_vqa=TWO"]}
    assert PretrainingDataArguments(vqa_dataset="vqa_rad", **made_of).sets_without_validation() == [
        "path_vqa",
        "vqa_rad",
    ]
    assert PretrainingDataArguments(vqa_dataset="slake", **made_of).sets_without_validation() == ["path_vqa"]
    assert read == [(name, "DIR", {"validation_by": None}) for name in ("vqa_rad", "slake")]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (PretrainingDataArguments, "teacher_mode", "both"),
        (PretrainingDataArguments, "validation_by", "day"),
        (PretrainingDataArguments, "max_train_samples", 0),
        (PretrainingModelArguments, "pooling_mode", "max"),
        (PretrainingModelArguments, "hidden_dropout_prob", float("nan")),
        (MpmaModelArguments, "memory_size", -1),
    ],
)
def test_what_is_out_of_range_is_named(kind, name, value):
    with pytest.raises(ValueError, match=f"--{name} {value}"):
        kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (AmifPreTrainingArguments, {"global_weight": 0.0}, "--global_weight: all are 0"),
        (
            AmifPreTrainingArguments,
            {"stage": "local", "local_weight": 0.0, "hard_negative_weight": 0.0},
            "--global_weight, --local_weight, --hard_negative_weight: all are 0",
        ),
        (AmifPreTrainingArguments, {"stage": "local", "local_weight": -1.0}, "--local_weight -1.0: a loss is weighted"),
        (AgaPreTrainingArguments, {"group_weight": float("nan")}, "--group_weight nan"),
        (
            AgaPreTrainingArguments,
            {"global_weight": 0.0, "group_weight": 0.0, "directions": "text"},
            "--cross_group_weight: all are 0",
        ),
        (
            MpmaPreTrainingArguments,
            {"image_weight": 0.0, "report_weight": 0.0, "global_weight": 0.0, "local_weight": 0.0},
            "--local_weight: all are 0",
        ),
    ],
)
def test_losses_that_teach_nothing_are_refused(kind, values, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        kind(output_dir=str(tmp_path), **values)


def test_the_help_names_every_set_of_pairs():
    said = {argument.name: argument.metadata["help"] for argument in fields(PairArguments)}["dataset"]
    assert [name for name in PAIR_SETS if name not in said] == []
