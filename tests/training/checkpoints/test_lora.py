import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from small_models import VOCABULARY, WIDTH, padded, small_inputs, small_model
from small_runs import build_data, build_processor, trainer
from torch import nn
from transformers import AutoModel, BertConfig, CLIPVisionConfig, Dinov2Config, RobertaConfig, ViTConfig

from amif.training import small_model as small
from amif.training.checkpoints.lora import ADAPTER_FOLDER, add_lora, finish_lora, has_lora
from amif.training.fine_tuning.parameter_groups import FUSION_MODULES, NEW_AFTER_PRETRAINING
from amif.training.processors import small_processor

LABELS = padded([[5], [6, 7], [8], [9]])["input_ids"]

SCHEDULE = {"num_train_epochs": 3, "learning_rate": 1e-2, "warmup_steps": 0, "save_strategy": "epoch"}

TEXT = {"vocab_size": VOCABULARY, "max_position_embeddings": 64, **WIDTH}

ENCODERS = {
    "vit": (ViTConfig(image_size=32, patch_size=8, **WIDTH), BertConfig(**TEXT)),
    "clip": (CLIPVisionConfig(image_size=32, patch_size=8, **WIDTH), BertConfig(**TEXT)),
    "dinov2": (Dinov2Config(image_size=32, patch_size=8, **WIDTH), RobertaConfig(pad_token_id=0, **TEXT)),
}


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_data(tmp_path_factory.mktemp("images"))


def adapted(rank=2, new=(), seed=0, **changes):
    model = small_model(seed=seed, **changes)
    add_lora(model, rank, new)
    return model


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def logits(model):
    return model.eval()(**small_inputs(), labels=LABELS).logits


def shake(model, seed=3):
    """Give adapters, which start as nothing, and new modules some other values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("new", [(), NEW_AFTER_PRETRAINING, FUSION_MODULES])
@pytest.mark.parametrize("encoders", ENCODERS)
def test_what_is_trained(encoders, new):
    """A and B of every linear layer, whatever it is called, and new modules whole; never embeddings or their twin."""
    vision, text = ENCODERS[encoders]
    configs = {"vision_config": vision, "text_config": text, "decoder_config": type(text)(**text.to_dict())}
    model = small_model(**configs)
    before = logits(model)
    whole = {name for name, _ in model.named_parameters() if any(part in name for part in new)}
    head = model.decoder.get_output_embeddings()
    whole -= {name for name, parameter in model.named_parameters() if parameter is head.bias}
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and f"{name}.weight" not in whole
    ]
    size = sum(2 * (layer.in_features + layer.out_features) for _, layer in layers)
    size += sum(model.get_parameter(name).numel() for name in whole)
    add_lora(model, 2, new)
    assert torch.equal(logits(model), before), "an adapter starts as nothing"
    names = trained(model)
    assert {name.split(".lora_")[0] for name in names if ".lora_" in name} == {name for name, _ in layers}
    assert {name.replace(".modules_to_save.default", "") for name in names if ".lora_" not in name} == whole
    assert sum(model.get_parameter(name).numel() for name in names) == size


def test_under_five_percent_of_the_small_model_of_the_default_run():
    processor = small_processor(["is there a mass in the left lung?"], 96)
    model = small.small_model(processor, 96)
    add_lora(model, 3)
    share = sum(model.get_parameter(name).numel() for name in trained(model)) / model.num_parameters()
    assert 0.02 < share < 0.05


def test_frozen_layers_get_no_adapters():
    model = small_model()
    model.model.vision_model.requires_grad_(False)
    add_lora(model, 2)
    assert not any("vision_model" in name for name in trained(model))
    assert any("text_model" in name for name in trained(model))


@pytest.mark.parametrize("encoders", ENCODERS)
@pytest.mark.parametrize("new", [(), FUSION_MODULES])
def test_merged_unmerged_saved_and_peft_give_the_same_logits(tmp_path, encoders, new):
    configs = dict(zip(("vision_config", "text_config"), ENCODERS[encoders], strict=True))
    configs["decoder_config"] = type(configs["text_config"])(**configs["text_config"].to_dict())
    model = adapted(new=new, **configs)
    before = logits(model)
    shake(model)
    expected = logits(model)
    assert (expected - before).abs().max() > 0.1
    finish_lora(model, tmp_path)
    assert not has_lora(model)
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(AutoModel.from_pretrained(tmp_path)), expected, rtol=1e-4, atol=1e-5)
    assert {path.name for path in (tmp_path / ADAPTER_FOLDER).iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    theirs = PeftModel.from_pretrained(small_model(**configs), tmp_path / ADAPTER_FOLDER)
    torch.testing.assert_close(logits(theirs), expected, rtol=1e-4, atol=1e-5)


def test_training_leaves_frozen_weights_as_they_were(tmp_path, processor, data):
    model = adapted()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    run = trainer(tmp_path, processor, data, model, **SCHEDULE)
    run.train()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    # A key's bias is the sum of its layer and its adapter: no bias is trained at all.
    assert moved <= trained(model)
    assert all(name in moved for name in trained(model) if "lora_B" in name and "decoder" in name)
    assert {path.name for path in (tmp_path / "checkpoint-9").glob("*.safetensors")} == {"adapter_model.safetensors"}


def test_resumed_run_ends_as_the_uninterrupted_one(tmp_path, processor, data):
    schedule = SCHEDULE | {"save_total_limit": None}
    whole = trainer(tmp_path, processor, data, adapted(new=("knowledge_fusion",)), **schedule)
    whole.train()
    expected = whole.model.state_dict()
    for checkpoint in ("checkpoint-6", "checkpoint-9"):
        shutil.rmtree(tmp_path / checkpoint)
    model = adapted(new=("knowledge_fusion",))
    shake(model)  # nothing but the checkpoint may matter
    again = trainer(tmp_path, processor, data, model, **schedule)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 9
    for name, value in again.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6, msg=name)


def test_the_best_checkpoint_is_read_back_at_the_end(tmp_path, processor, data, monkeypatch):
    choosing = {"eval_strategy": "epoch", "load_best_model_at_end": True}
    run = trainer(tmp_path, processor, data, adapted(), **SCHEDULE | choosing)
    monkeypatch.setattr(run, "_accuracy", lambda *_: {"accuracy": 90.0 - run.state.global_step})
    run.train()
    saved = load_file(tmp_path / "checkpoint-3" / "adapter_model.safetensors")
    for name in trained(run.model):
        key = f"base_model.model.{name.replace('.default', '')}"
        assert torch.equal(run.model.get_parameter(name), saved[key]), name


def test_adapters_and_whole_models_are_not_taken_for_each_other(tmp_path, processor, data):
    one_epoch = {"num_train_epochs": 1, "save_strategy": "epoch"}
    trainer(tmp_path / "lora", processor, data, adapted(), **one_epoch).train()
    trainer(tmp_path / "whole", processor, data, **one_epoch).train()
    for model, folder, said in (
        (small_model(), "lora", "holds an adapter: give --use_lora"),
        (adapted(), "whole", "holds no adapter: it was trained without --use_lora"),
        (adapted(rank=3), "lora", "has other layers or another rank"),
    ):
        run = trainer(tmp_path / folder, processor, data, model, **one_epoch | {"num_train_epochs": 2})
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            run.train(resume_from_checkpoint=str(tmp_path / folder / "checkpoint-3"))


def test_an_adapter_of_an_earlier_run_is_cleared_away(tmp_path):
    finish_lora(adapted(), tmp_path)
    finish_lora(small_model(), tmp_path)
    assert not (tmp_path / ADAPTER_FOLDER).exists()


def test_paths_of_ones_own_disk_are_not_written(tmp_path):
    small_model().save_pretrained(tmp_path / "base")
    for name, written in ((str(tmp_path / "base"), False), ("user/amif-vqa", True)):
        model = small_model()
        model.name_or_path = name
        add_lora(model, 2)
        finish_lora(model, tmp_path)
        assert (name in (tmp_path / ADAPTER_FOLDER / "adapter_config.json").read_text()) == written


def test_a_rank_that_is_none():
    with pytest.raises(ValueError, match="rank of an adapter is 0"):
        add_lora(small_model(), 0)
