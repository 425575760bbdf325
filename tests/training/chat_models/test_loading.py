"""What stands for no chat model is named in one line, with the cure, before anything long is done."""

import json
import shutil

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from amif.training.chat_models.loading import check_chat_model, load_chat_model


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    width = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=8, **width)).save_pretrained(folder)
    return folder


def said(name, kind, **options):
    with pytest.raises(kind) as error:
        load_chat_model(str(name), **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_other_models_are_refused(text_model, tmp_path):
    assert "has model_type 'llama', which does not answer images and text with text" in said(text_model, ValueError)
    assert "There is no folder some/vlm, and no model of that name" in said("some/vlm", FileNotFoundError)
    assert "holds no config.json" in said(tmp_path, FileNotFoundError)
    own = {"model_type": "mine", "auto_map": {"AutoModelForImageTextToText": "mine.Mine"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    assert "give --trust_remote_code if you trust it" in said(tmp_path, ValueError)
    check_chat_model(str(tmp_path), trust_remote_code=True)


@pytest.mark.parametrize("chat_model_folder", ["llava"], indirect=True)
def test_what_a_checkpoint_lacks_is_named(chat_model_folder, tmp_path):
    whole = shutil.copytree(chat_model_folder, tmp_path / "whole")
    for file in (*whole.glob("*processor_config.json"), whole / "chat_template.jinja"):
        file.unlink(missing_ok=True)
    assert "processor_config.json" in said(whole, ValueError)
    shutil.copytree(chat_model_folder, whole, dirs_exist_ok=True)
    (whole / "model.safetensors").unlink()
    assert "whole cannot be read" in said(whole, ValueError)


def test_the_type_of_the_weights_is_as_asked_for(chat_model_folder):
    assert load_chat_model(str(chat_model_folder))[0].dtype == torch.float32
    assert load_chat_model(str(chat_model_folder), dtype="bfloat16")[0].dtype == torch.bfloat16
