"""Which model a run starts from, and what it knows."""

import pytest
import torch
from datasets import DatasetDict
from PIL import Image
from small_models import small_model
from small_runs import build_data, build_processor

from amif import AgaForPreTraining, AmifForPreTraining
from amif.modeling_amif.encoder_loading_amif import resize_position_embeddings
from amif.training.checkpoints.provenance import datasets_of, note_trained_on
from amif.training.fine_tuning import model as vqa_model
from amif.training.fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from amif.training.fine_tuning.model import build_model, new_modules
from amif.training.fine_tuning.parameter_groups import FUSION_MODULES
from amif.training.fine_tuning.splits import note_validation
from amif.training.small_model import small_pretraining_model

POSITIONS = "model.vision_model.embeddings.position_embeddings"


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    small_model(knowledge=7).save_pretrained(folder)
    build_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def splits(tmp_path):
    return DatasetDict({"train": build_data(tmp_path)})


def built(checkpoint, splits, training, use_lora=False, **data_arguments):
    model_args = VqaModelArguments(model_name_or_path=str(checkpoint), use_lora=use_lora)
    return build_model(model_args, FineTuningDataArguments(**data_arguments), splits, training)


def test_training_on_takes_the_knowledge_of_its_data(checkpoint, splits, caplog):
    with caplog.at_level("INFO"):
        model, processor = built(checkpoint, splits, training=True)
    tokens = processor.tokenizer.convert_ids_to_tokens(model.knowledge_ids)
    assert {token for token in tokens if token != "[SEP]"} == {"dark", "grey", "bright", "yes", "no"}
    assert "Knowledge: the training answers, 10 tokens." in caplog.text
    assert model.config.knowledge_size == 10


def test_evaluating_keeps_the_knowledge_of_the_checkpoint(checkpoint, splits, caplog):
    with caplog.at_level("INFO"):
        model, _ = built(checkpoint, splits, training=False)
    assert model.knowledge_ids.tolist() == small_model(knowledge=7).knowledge_ids.tolist()
    assert "Knowledge: the checkpoint's, 7 tokens." in caplog.text


def test_an_adapter_keeps_the_knowledge_of_what_it_adapts(checkpoint, splits):
    model, _ = built(checkpoint, splits, training=True, use_lora=True)
    assert model.knowledge_ids.tolist() == small_model(knowledge=7).knowledge_ids.tolist()


def test_what_is_asked_of_a_new_model_is_named_beside_one_that_answers(checkpoint, splits, caplog):
    asked = {"decoder_model": "other", "decoder_layers": 1, "new_co_attention": True, "use_lora": True}
    model_args = VqaModelArguments(model_name_or_path=str(checkpoint), **asked)
    model, _ = build_model(model_args, FineTuningDataArguments(knowledge="questions"), splits, training=True)
    assert model.config.decoder_config.num_hidden_layers == 2
    for option in ("decoder_model", "decoder_layers", "new_co_attention"):
        assert f"--{option} is for a new model: the checkpoint's stays as it is." in caplog.text
    assert "--knowledge questions changes nothing: adapters keep the checkpoint's knowledge." in caplog.text
    caplog.clear()
    same = VqaModelArguments(model_name_or_path=str(checkpoint), decoder_layers=2, use_lora=True)
    build_model(same, FineTuningDataArguments(), splits, training=True)
    assert not caplog.text


def test_what_is_new_beside_adapters_depends_on_the_start(checkpoint, monkeypatch):
    encoders = VqaModelArguments(vision_model="v", text_model="t", use_lora=True)
    assert new_modules(encoders) == FUSION_MODULES
    ours = VqaModelArguments(model_name_or_path=str(checkpoint), use_lora=True)
    assert new_modules(ours) == ("view_embedding",)
    monkeypatch.setattr(vqa_model, "is_pretrained_only", lambda name: True)
    assert {"co_attention", "crossattention"} <= set(new_modules(ours)), "stage one leaves co-attention untrained"
    assert "_projection" not in new_modules(ours)


def test_knowledge_cannot_be_taken_away(checkpoint, splits):
    with pytest.raises(ValueError, match="--knowledge none: the checkpoint was trained with knowledge"):
        built(checkpoint, splits, training=True, knowledge="none")


def test_code_beside_a_checkpoint_does_not_run(checkpoint, splits, tmp_path):
    mark = tmp_path / "executed"
    for path in checkpoint.glob("*.py"):
        path.write_text(f"open({str(mark)!r}, 'w')\n{path.read_text()}")
    assert list(checkpoint.glob("*.py"))
    built(checkpoint, splits, training=False)
    assert not mark.exists()


def test_a_model_on_encoders_has_as_many_layers_as_asked_for(models_dir, splits):
    vision, text = str(models_dir / "dinov2-small"), str(models_dir / "minilm-l6")
    layers = {"vision_layers": 2, "text_layers": 1, "decoder_layers": 3}
    model_args = VqaModelArguments(vision_model=vision, text_model=text, image_size=28, **layers)
    config = build_model(model_args, FineTuningDataArguments(), splits, training=True)[0].config
    assert [part.num_hidden_layers for part in (config.vision_config, config.text_config, config.decoder_config)] == [
        *layers.values()
    ]
    with pytest.raises(ValueError, match="shorten --vision_model and --text_model: give those"):
        VqaModelArguments(vision_layers=2)


def test_training_on_at_another_image_size_keeps_all_but_the_positions(checkpoint, splits):
    model_args = VqaModelArguments(model_name_or_path=str(checkpoint), image_size=64, image_pooling=2, use_lora=True)
    model, processor = build_model(model_args, FineTuningDataArguments(), splits, training=True)
    old, new = small_model(knowledge=7).state_dict(), model.state_dict()
    changed = {name for name in new if not torch.equal(old.get(name, torch.empty(0)), new[name])}
    assert changed == {POSITIONS}
    assert torch.equal(new[POSITIONS], resize_position_embeddings(old[POSITIONS], 65))
    assert (model.config.vision_config.image_size, model.config.image_pooling) == (64, 2)
    inputs = processor(images=[Image.new("RGB", (90, 40))], text=["is there a mass?"])
    assert inputs["pixel_values"].shape[-2:] == (64, 64)
    assert model.model.project_images(model.model.encode_images(inputs["pixel_values"])).shape[1] == 1 + 4 * 4
    assert old.keys() == new.keys()


def test_pooling_alone_changes_no_weight(checkpoint, splits):
    model_args = VqaModelArguments(model_name_or_path=str(checkpoint), image_pooling=2, use_lora=True)
    model, _ = build_model(model_args, FineTuningDataArguments(), splits, training=True)
    assert model.config.image_pooling == 2
    old = small_model(knowledge=7).state_dict()
    assert all(torch.equal(old[name], weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize(
    ("size", "pooling", "message"),
    [
        (36, None, "image_size=36 is not a multiple of the patch size 8; use 32 or 40"),
        (40, 2, "--image_pooling 2 does not divide the 5 patches on a side of 40 pixels"),
        (None, 3, "--image_pooling 3 does not divide the 4 patches on a side of 32 pixels"),
    ],
)
def test_an_image_size_that_the_patches_do_not_divide_is_refused(checkpoint, splits, size, pooling, message):
    model_args = VqaModelArguments(model_name_or_path=str(checkpoint), image_size=size, image_pooling=pooling)
    with pytest.raises(ValueError, match=message):
        build_model(model_args, FineTuningDataArguments(), splits, training=True)


@pytest.mark.parametrize("name", ["image_size", "image_pooling"])
def test_a_size_of_nothing_is_refused_with_the_arguments(name):
    with pytest.raises(ValueError, match=f"--{name} 0: give at least 1"):
        VqaModelArguments(**{name: 0})


def test_empty_folder_is_named(tmp_path, splits):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json, so no model"):
        built(tmp_path, splits, training=False)


@pytest.mark.parametrize(
    ("model_class", "new", "layers"),
    [(AmifForPreTraining, True, 3), (AgaForPreTraining, False, 3), (AmifForPreTraining, False, 2)],
)
def test_a_new_co_attention_is_as_asked_for(splits, tmp_path, caplog, model_class, new, layers):
    processor = build_processor()
    small_pretraining_model(processor, 32, model_class=model_class).save_pretrained(tmp_path / "pretrained")
    processor.save_pretrained(tmp_path / "pretrained")
    model_args = VqaModelArguments(
        model_name_or_path=str(tmp_path / "pretrained"),
        new_co_attention=new,
        num_co_attention_layers=3,
        num_attention_heads=8,
    )
    model, _ = build_model(model_args, FineTuningDataArguments(), splits, training=True)
    assert len(model.model.co_attention.text_layers) == layers
    assert model.config.num_attention_heads == (8 if layers == 3 else 4)
    for option in ("num_co_attention_layers", "num_attention_heads"):
        said = f"--{option} is for a new co-attention: the checkpoint's stays as it is"
        assert (said in caplog.text) == (layers == 2)


def test_what_pretraining_read_of_a_data_set_is_remembered(splits, tmp_path):
    processor = build_processor()
    pretrained = small_pretraining_model(processor, 32)
    pretrained.config.validation_by = {"vqa_rad": "wording"}
    note_trained_on(pretrained.config, ["rocov2"])
    pretrained.save_pretrained(tmp_path / "pretrained")
    processor.save_pretrained(tmp_path / "pretrained")
    model_args = VqaModelArguments(model_name_or_path=str(tmp_path / "pretrained"))
    model, _ = build_model(model_args, FineTuningDataArguments(), splits, training=True)
    assert datasets_of(model.config) == ["rocov2"]
    note_validation(model, FineTuningDataArguments("vqa_rad", validation_by="wording"), True, "validation")
    with pytest.raises(ValueError, match="trained on vqa_rad with --validation_by wording: with image, training and"):
        note_validation(model, FineTuningDataArguments("vqa_rad"), True, "validation")


def test_hidden_states_are_those_of_pretraining_and_of_a_new_model_those_asked_for(splits, tmp_path):
    processor = build_processor()
    small_pretraining_model(processor, 32, vision_feature_layer=[1, -1]).save_pretrained(tmp_path / "pretrained")
    processor.save_pretrained(tmp_path / "pretrained")
    kept = VqaModelArguments(model_name_or_path=str(tmp_path / "pretrained"), vision_feature_layer=[2])
    model, _ = build_model(kept, FineTuningDataArguments(), splits, training=True)
    assert model.config.vision_feature_layer == [1, -1]
    new, _ = build_model(
        VqaModelArguments(vision_feature_layer=[0, -1]), FineTuningDataArguments(), splits, training=True
    )
    assert new.config.vision_feature_layer == [0, -1]
    assert new.model.image_projection.in_features == 2 * new.config.vision_config.hidden_size


@pytest.mark.parametrize("asked", [None, 1])
def test_images_are_pooled_as_in_pretraining_unless_another_pooling_is_asked_for(splits, tmp_path, asked):
    processor = build_processor()
    small_pretraining_model(processor, 32, image_pooling=2).save_pretrained(tmp_path / "pretrained")
    processor.save_pretrained(tmp_path / "pretrained")
    model_args = VqaModelArguments(model_name_or_path=str(tmp_path / "pretrained"), image_pooling=asked)
    model, _ = build_model(model_args, FineTuningDataArguments(), splits, training=True)
    assert model.config.image_pooling == (asked or 2)
