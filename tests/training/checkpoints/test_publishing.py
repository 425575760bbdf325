"""Publishing and loading over HTTP, by huggingface_hub's own client in a process of its own."""

import json
from pathlib import Path

import pytest
from hub_server import TOKEN, running_hub
from small_models import save_small_checkpoint, small_model
from started_scripts import python_with_amif

import amif
from amif.training.checkpoints.lora import add_lora, finish_lora
from amif.training.checkpoints.publishing import publish_checkpoint

TESTS = Path(__file__).parents[2]

# Words in the names of code that a model which answers does not need.
ONLY_PRETRAINING = ("pretraining", "dual_encoder", "aga_", "mpma_")

CLIENT = """
import json, sys, time, urllib.request
time.sleep = lambda seconds: None  # between the client's attempts
sys.path.insert(0, sys.argv[2])
from small_models import small_inputs, small_processor
import amif, os, torch
from huggingface_hub import HfApi
from peft import PeftModel
from transformers import AutoModel, AutoProcessor, pipeline
from amif.training.checkpoints.publishing import publish_checkpoint

folder = sys.argv[1]
said = {}

def answers(name, **options):
    model = AutoModel.from_pretrained(name, **options).eval()
    processor = AutoProcessor.from_pretrained(name, **options)
    ranking = model.rank_answers(**small_inputs(), answers=processor.encode_answers(), top_k=5)
    return [type(model).__name__, processor.answers, ranking.indices.tolist(), ranking.scores.tolist()]

def break_at(step):
    request = urllib.request.Request(os.environ["HF_ENDPOINT"] + "/test/break", json.dumps(step).encode())
    urllib.request.urlopen(request).read()

def error_of(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

said["local"] = answers(folder)

model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
model.push_to_hub("user/by-parts")
processor.push_to_hub("user/by-parts")
said["by parts"] = answers("user/by-parts")
said["by remote code"] = answers("user/by-parts", trust_remote_code=True)
said["by pipeline"] = pipeline("medical-vqa", model="user/by-parts").processor.answers

publish_checkpoint(folder, "amif-vqa", private=True, revision="v1")
said["private, v1"] = answers("user/amif-vqa", revision="v1")
said["files"] = sorted(HfApi().list_repo_files("user/amif-vqa", revision="v1"))
said["config"] = open(HfApi().hf_hub_download("user/amif-vqa", "config.json", revision="v1")).read()
said["metrics"] = json.load(open(HfApi().hf_hub_download("user/amif-vqa", "metrics.json", revision="v1")))
base = AutoModel.from_pretrained(folder)
adapted = PeftModel.from_pretrained(base, "user/amif-vqa", subfolder="adapter", revision="v1")
said["adapter"] = sorted(name for name, _ in adapted.named_parameters() if "lora_B" in name)
said["main"] = HfApi().list_repo_files("user/amif-vqa")
said["without token"] = error_of(AutoModel.from_pretrained, "user/amif-vqa", revision="v1", token=False)

for step in ("large file", "commit"):
    name = f"user/broken-at-{step.replace(' ', '-')}"
    break_at(step)
    said[f"broken at {step}"] = error_of(publish_checkpoint, folder, name)
    break_at(None)
    said[f"loaded after broken {step}"] = error_of(AutoModel.from_pretrained, name)
    said[f"files after broken {step}"] = HfApi().list_repo_files(name)
publish_checkpoint(folder, name)
said["second attempt"] = answers(name)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A Python whose huggingface_hub has read, as it does once, of a Hub of our own."""
    with running_hub() as hub:
        yield python_with_amif(
            HF_ENDPOINT=hub.url,
            HF_TOKEN=TOKEN,
            HF_HOME=str(tmp_path_factory.mktemp("home")),
            HF_HUB_OFFLINE="0",
            HF_HUB_DISABLE_XET="1",
            HF_HUB_DISABLE_TELEMETRY="1",
        )


@pytest.fixture(scope="module")
def said(client, tmp_path_factory):
    folder = save_small_checkpoint(tmp_path_factory.mktemp("run") / "amif-vqa")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["_name_or_path"] = "/home/me/encoders/bert"  # of a model that was built on it
    (folder / "config.json").write_text(json.dumps(config))
    adapted = small_model()
    add_lora(adapted, 2)
    finish_lora(adapted, folder)
    (folder / "checkpoint-5").mkdir()
    for name in (
        *("README.md", "metrics.json", "test_evaluations.jsonl", "predictions.jsonl", "training_args.bin"),
        *(
            "trainer_state.json",
            "checkpoint-5/optimizer.pt",
            "checkpoint-5/model.safetensors",
            "checkpoint-5/config.json",
        ),
    ):
        (folder / name).write_text("---\nlanguage: en\n---\n" if name == "README.md" else "{}")
    (folder / "metrics.json").write_text('{"command": "/home/me/run_vqa.py --data_dir=/data/slake out/here"}')
    done = client.run("-c", CLIENT, folder, TESTS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("way", ["by parts", "by remote code", "private, v1", "second attempt"])
def test_what_was_published_answers_alike(said, way):
    assert said["local"][0] == "AmifForVisualQuestionAnswering"
    assert said[way] == said["local"]


def test_the_pipeline_loads_from_the_hub(said):
    assert said["by pipeline"] == said["local"][1]


def test_what_belongs_to_a_checkpoint_is_published_and_nothing_else(said):
    code = {path.name for name in ("modeling_amif", "processing_amif") for path in code_files(name)}
    code -= {"montage_amif.py"}  # how answer.py shows a volume, which no processor imports
    data = {"config.json", "generation_config.json", "model.safetensors", "processor_config.json", "README.md"}
    data |= {"tokenizer.json", "tokenizer_config.json", "metrics.json", "test_evaluations.jsonl"}
    data |= {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    assert set(said["files"]) - {"generation_config.json"} == (code | data) - {"generation_config.json"}
    assert said["main"] == [], "another revision than the one that was asked for"


def test_what_is_published_says_nothing_of_the_disk(said):
    assert '"_name_or_path": "bert"' in said["config"]
    assert "/home/me" not in said["config"]
    assert said["metrics"] == {"command": "run_vqa.py --data_dir=slake out/here"}


def test_peft_loads_the_adapter_from_the_hub(said):
    assert len(said["adapter"]) > 50


def code_files(package):
    code = {path for path in (Path(amif.__file__).parents[1] / package).glob("*_amif.py")}
    return {path for path in code if not any(word in path.name for word in ONLY_PRETRAINING)}


def test_a_private_repository_needs_the_token(said):
    assert said["without token"].startswith("OSError: ")


@pytest.mark.parametrize("step", ["large file", "commit"])
def test_a_broken_connection_publishes_nothing_and_says_so(said, step):
    assert said[f"broken at {step}"].startswith("ConnectionError: Publishing ")
    assert "nothing was changed there" in said[f"broken at {step}"]
    assert "Unrecognized model" in said[f"loaded after broken {step}"]
    assert said[f"files after broken {step}"] == []


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint to publish"):
        publish_checkpoint(tmp_path, "user/nothing")


def test_the_run_script_publishes_what_it_made(client, tmp_path):
    script = TESTS.parent / "examples" / "run_vqa.py"
    options = "--num_studies 60 --max_train_samples 16 --max_eval_samples 8 --num_train_epochs 1 --disable_tqdm true"
    options += " --push_to_hub --hub_model_id user/from-script --hub_private_repo true --output_dir out"
    done = client.run(script, *options.split(), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    check = (
        "import json, amif, huggingface_hub as hub; from transformers import AutoProcessor;"
        "name = 'user/from-script'; card = hub.ModelCard.load(name);"
        "print(json.dumps([hub.list_repo_files(name), card.data.eval_results is not None,"
        " len(AutoProcessor.from_pretrained(name).answers), hub.model_info(name).private]))"
    )
    done = client.run("-c", check)
    assert done.returncode == 0, done.stderr
    files, measured, answers, private = json.loads(done.stdout.splitlines()[-1])
    assert {"model.safetensors", "metrics.json", "README.md", "pipeline_amif.py"} <= set(files)
    assert not {"training_args.bin", "trainer_state.json", "predictions.jsonl"} & set(files)
    assert measured
    assert answers > 1
    assert private
