"""Models that cannot be read, and that none of the scripts reads them."""

import ast
import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_models import save_small_checkpoint, small_model, small_processor
from transformers import BertConfig, BertModel, PreTrainedConfig

from amif import AmifForPreTraining, AmifForVisualQuestionAnswering, AmifProcessor
from amif.training.checkpoints.model_files import check_model, load_checkpoint
from amif.training.pretraining.objectives import OBJECTIVES
from amif.training.small_model import small_pretraining_model

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"


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


@pytest.mark.parametrize("name", ["../../x.safetensors", "/tmp/x.safetensors", "sub/x.safetensors", "..", ""])
def test_a_shard_outside_of_the_folder_is_refused(sharded, name):
    folder, shards = sharded
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(shards[0].name, name))
    with pytest.raises(ValueError, match=r"index\.json names a file outside of its folder, .*: do not use this"):
        check_model(str(folder))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{"])
def test_a_damaged_list_of_shards_is_named(sharded, content):
    folder, _ = sharded
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"index\.json is damaged .*copy the checkpoint again"):
        check_model(str(folder))


@pytest.mark.parametrize("content", ["", "{", "[]", "5"])
def test_a_damaged_configuration_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises((OSError, ValueError), match=r"config\.json"):
        check_model(str(tmp_path))


def drop_every_third(weights):
    return {name: weight for place, (name, weight) in enumerate(sorted(weights.items())) if place % 3}


def rename_one(weights):
    name = sorted(weights)[5]
    return {f"{key}_of_old" if key == name else key: weight for key, weight in weights.items()}


def add_one(weights):
    return weights | {"model.head.weight": torch.zeros(3)}


def set_nan(weights):
    name = sorted(weights)[5]
    return weights | {name: torch.full_like(weights[name], torch.nan)}


def cut_shape(weights):
    name = sorted(weights)[5]
    return weights | {name: weights[name][:-1].clone()}


FAULTS = [
    (drop_every_third, "has missing weights: .* and [0-9]+ more. Copy the checkpoint again"),
    (rename_one, "has missing weights: "),
    (add_one, r"has unexpected weights: model\.head\.weight"),
    (set_nan, "the weight .* is not finite, so it is neither saved nor used"),
    (cut_shape, "The model .*damaged cannot be read"),
]


def damage(folder, fault):
    file = folder / "model.safetensors"
    save_file(fault(load_file(file)), file, metadata={"format": "pt"})
    return str(folder)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """One that answers, and one of each objective, by the class of its model."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_small_checkpoint(folder / "answering")
    kinds = {AmifForVisualQuestionAnswering: folder / "answering"}
    for objective in OBJECTIVES.values():
        kinds[objective.model] = folder / objective.model.__name__
        small_pretraining_model(small_processor(), 32, 32, objective.model).save_pretrained(kinds[objective.model])
        small_processor().save_pretrained(kinds[objective.model])
    return kinds


@pytest.mark.parametrize("kind", [AmifForVisualQuestionAnswering, *(each.model for each in OBJECTIVES.values())])
def test_a_whole_checkpoint_is_read(checkpoints, kind):
    model, processor = load_checkpoint(str(checkpoints[kind]), kind, attn_implementation="eager")
    assert (type(model), type(processor)) == (kind, AmifProcessor)
    assert (model.dtype, model.training, model.config._attn_implementation) == (torch.float32, False, "eager")
    weights = load_file(checkpoints[kind] / "model.safetensors")
    assert sum(weight.numel() for weight in weights.values()) == model.num_parameters() + sum(
        buffer.numel() for name, buffer in model.named_buffers() if name in model.state_dict()
    )
    other = BertModel
    with pytest.raises(ValueError, match=rf"holds {kind.__name__}, and BertModel is needed here"):
        load_checkpoint(str(checkpoints[kind]), other)


@pytest.mark.parametrize("kind", [AmifForVisualQuestionAnswering, *(each.model for each in OBJECTIVES.values())])
@pytest.mark.parametrize(("fault", "said"), FAULTS)
def test_damaged_weights_are_not_read(tmp_path, checkpoints, kind, fault, said):
    shutil.copytree(checkpoints[kind], tmp_path / "damaged")
    with pytest.raises(ValueError, match=said):
        load_checkpoint(damage(tmp_path / "damaged", fault), kind)


ANSWERING = {
    "answer.py": ["IMAGE", "is there a mass?", "--model", "CHECKPOINT"],
    "app.py": ["--model", "CHECKPOINT"],
    "export.py": ["--model", "CHECKPOINT"],
    "visualize.py": ["architecture", "--models", "CHECKPOINT"],
    "run_vqa.py": ["--do_train", "false", "--model_name_or_path", "CHECKPOINT", "--num_studies", "20"],
}
PRETRAINED = {
    "run_retrieval.py": ["--model_name_or_path", "CHECKPOINT", "--num_studies", "20"],
    "run_classification.py": ["--model_name_or_path", "CHECKPOINT", "--num_studies", "20"],
    "run_pretraining.py": ["--model_name_or_path", "CHECKPOINT", "--num_studies", "20"],
    "run_pretraining.py ": ["--teacher", "amif:CHECKPOINT", "--num_studies", "20"],
    "run_vqa.py": ["--model_name_or_path", "CHECKPOINT", "--num_studies", "20"],
}


@pytest.mark.parametrize(("script", "words"), [*ANSWERING.items(), *PRETRAINED.items()])
@pytest.mark.parametrize("fault", [drop_every_third, set_nan])
def test_no_script_uses_damaged_weights(tmp_path, checkpoints, monkeypatch, capsys, script, words, fault):
    kind = AmifForVisualQuestionAnswering if words in ANSWERING.values() else AmifForPreTraining
    shutil.copytree(checkpoints[kind], tmp_path / "damaged")
    damage(tmp_path / "damaged", fault)
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("a.png")
    said = [word.replace("CHECKPOINT", "damaged").replace("IMAGE", "a.png") for word in words]
    monkeypatch.setattr("sys.argv", [script.strip(), *said])
    with pytest.raises((SystemExit, ValueError)) as ended:
        runpy.run_path(str(EXAMPLES / script.strip()), run_name="__main__")
    told = f"{ended.value} {capsys.readouterr().err}"
    assert re.search(r"missing weights|lacks .* weights|is not finite", told)


def test_weights_are_read_by_one_function():
    """Encoders and their processors are read where the model is built, and open_clip's teacher by its library.

    A chat model's processor runs its own code where the user allows it; it holds no weights.
    """
    calls = {}
    for path in [*(ROOT / "training").rglob("*.py"), *EXAMPLES.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".from_pretrained"):
                calls.setdefault(path.name, []).append(ast.unparse(node))
    readers = [call for found in calls.values() for call in found if "trust_remote_code=" not in call]
    assert readers == [next(call for call in calls["model_files.py"] if "**safely" in call)]
