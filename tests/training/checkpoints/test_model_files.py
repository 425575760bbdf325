"""Models that cannot be read."""

import pytest
import torch
from small_models import small_model
from transformers import BertConfig, BertModel, PreTrainedConfig

from amif.training.checkpoints.model_files import check_model


@pytest.fixture
def sharded(tmp_path):
    small_model().save_pretrained(tmp_path, max_shard_size="100KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    check_model(str(tmp_path))
    return tmp_path, shards


def test_missing_shard_is_named(sharded):
    folder, shards = sharded
    shards[1].unlink()
    with pytest.raises(FileNotFoundError, match=f"{shards[1].name} is missing: copy the checkpoint again"):
        check_model(str(folder))


@pytest.mark.parametrize("length", [0, 5, -1])
def test_damaged_shard_is_named(sharded, length):
    folder, shards = sharded
    shards[0].write_bytes(shards[0].read_bytes()[:length])
    with pytest.raises(ValueError, match=rf"{shards[0].name} is damaged \(.+copy the checkpoint again"):
        check_model(str(folder))


def test_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json, so no model"):
        check_model(str(tmp_path))


def test_model_of_another_type(tmp_path):
    config = BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"model_type 'bert', not one of amif, amif_aga, amif_mpma\. To start from encoders"
    ):
        check_model(str(tmp_path))


def test_pickled_weights_are_not_looked_for(tmp_path):
    model = small_model()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        check_model(str(tmp_path))


def test_model_type_of_a_name_is_looked_up(monkeypatch):
    monkeypatch.setattr(PreTrainedConfig, "get_config_dict", lambda name: ({"model_type": "vit"}, {}))
    with pytest.raises(ValueError, match="someone/model has model_type 'vit'"):
        check_model("someone/model")
