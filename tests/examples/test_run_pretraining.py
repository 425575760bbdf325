"""The pre-training script, as a user starts it, on a small phantom: both stages, and a question about the result."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import datasets.config
import pytest
from open_clip_folders import OWN, save_biomedclip
from PIL import Image
from small_models import WIDTH
from started_scripts import run_script
from transformers import AutoConfig, AutoModel, AutoProcessor, BertConfig

from amif import AgaForPreTraining, AmifForPreTraining, AmifForVisualQuestionAnswering, MpmaForPreTraining
from amif.training.data import load_pretraining_dataset
from amif.training.distributed import only_run_in
from amif.training.pretraining.teacher import Teacher

ROOT = Path(__file__).parents[2]
SMALL = ["--dataset", "phantom", "--num_studies", "60", "--num_co_attention_layers", "1", "--num_train_epochs", "1"]
SMALL += ["--per_device_train_batch_size", "20", "--disable_tqdm", "true"]


def run(*arguments, folder):
    return run_script("run_pretraining.py", *arguments, folder=folder)


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    first = run(*SMALL, "--output_dir", "one", folder=folder)
    assert first.returncode == 0, first.stderr
    second = run(*SMALL, "--model_name_or_path", "one", "--stage", "local", "--output_dir", "two", folder=folder)
    assert second.returncode == 0, second.stderr
    return folder, first


def test_both_stages_leave_a_checkpoint_and_its_retrieval(stages):
    folder, first = stages
    assert {path.name for path in folder.iterdir()} == {"one", "two"}, "nothing is written outside the output folder"
    for name in ("one", "two"):
        written = {path.name for path in (folder / name).iterdir()}
        assert written >= {
            "model.safetensors",
            "processor_config.json",
            "metrics.json",
            "README.md",
            "pretraining_amif.py",
        }
        assert "training_args.bin" not in written
        metrics = json.loads((folder / name / "metrics.json").read_text())
        assert 0 <= metrics["test"]["test_recall_i2t@1"] <= metrics["test"]["test_recall_i2t@5"] <= 1
    assert "phantom, test, 12 studies" in first.stdout
    assert "test_matching_accuracy_image_text" in (folder / "two/metrics.json").read_text()


def test_towers_and_teacher_of_one_open_clip_folder(tmp_path):
    (tmp_path / "clip").mkdir()
    save_biomedclip(tmp_path / "clip", BertConfig(vocab_size=40, **WIDTH), OWN)
    towers = ("--vision_model", "open_clip:clip", "--text_model", "open_clip:clip", "--teacher", "open_clip:clip")
    done = run(*SMALL, *towers, "--max_steps", 1, "--output_dir", "one", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    config = AutoConfig.from_pretrained(tmp_path / "one")
    assert (config.vision_config.model_type, config.text_config.model_type) == ("clip_vision_model", "bert")
    assert AutoProcessor.from_pretrained(tmp_path / "one").image_processor.image_mean == (0.5, 0.4, 0.3)


def test_a_run_that_was_killed_behind_its_training_keeps_what_training_cost(stages, tmp_path):
    folder, _ = stages
    shutil.copytree(folder / "one", tmp_path / "one")
    before = json.loads((tmp_path / "one" / "metrics.json").read_text())
    (tmp_path / "one" / "metrics.json").write_text(json.dumps({"training": before["training"]}))
    done = run(*SMALL, "--output_dir", "one", "--resume_from_checkpoint", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Training had ended" in done.stderr
    after = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert after["training"] == before["training"]
    (tmp_path / "one" / "metrics.json").unlink()
    assert run(*SMALL, "--output_dir", "one", "--resume_from_checkpoint", folder=tmp_path).returncode == 0
    assert json.loads((tmp_path / "one" / "metrics.json").read_text()).keys() == {"validation", "test"}
    assert after["test"]["test_recall_i2t@1"] == before["test"]["test_recall_i2t@1"]


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_is_not_gone_on_with_by_other_settings(stages, tmp_path, ended):
    shutil.copytree(stages[0] / "one", tmp_path / "one")
    if not ended:
        (tmp_path / "one" / "trainer_state.json").unlink()
    other = ["--pooling_mode", "mean", "--max_train_samples", "30", "--logging_steps", "3"]
    done = run(*SMALL, *other, "--output_dir", "one", "--resume_from_checkpoint", folder=tmp_path)
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("run_pretraining.py: error: ")]
    assert "--max_train_samples is 30 here and null there; --pooling_mode is mean here and cls there" in error
    assert "training data is 30 rows" in error


def test_a_second_run_in_one_output_folder_is_refused(tmp_path):
    (tmp_path / "one").mkdir()
    with only_run_in(tmp_path / "one"):
        done = run(*SMALL, "--output_dir", "one", folder=tmp_path)
    assert done.returncode == 1
    assert "Another run is at work in the output folder one: wait until it has ended" in done.stderr


def test_a_checkpoint_says_what_it_learned_from_and_what_its_pairs_held_out(tmp_path):
    (tmp_path / "rad" / "images").mkdir(parents=True)
    rows = []
    for number in range(7):
        Image.new("RGB", (32, 32), (30 * number,) * 3).save(tmp_path / "rad" / "images" / f"{number}.jpg")
        row = {"qid": number, "image_name": f"{number}.jpg", "question": "is there a mass?", "answer": "yes"}
        rows.append(row | {"answer_type": "CLOSED", "question_type": "PRES", "phrase_type": "freeform"})
    (tmp_path / "rad" / "trainset.json").write_text(json.dumps(rows))
    (tmp_path / "rad" / "testset_questions.json").write_text("[]")
    shared = ["--add_vqa_pairs", "vqa_rad=rad", "--validation_by", "wording"]
    done = run(*SMALL, *shared, "--output_dir", "one", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["trained_on"] == ["phantom", "vqa_rad"]
    assert config["validation_by"] == {"vqa_rad": "wording"}
    assert "- `vqa_rad`. Licence: CC0-1.0." in (tmp_path / "one" / "README.md").read_text()
    alone = [*SMALL[4:], "--dataset", "vqa_pairs", "--vqa_dataset", "vqa_rad", "--data_dir", "rad"]
    done = run(*alone, "--validation_by", "wording", "--output_dir", "two", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    assert (config["trained_on"], config["validation_by"]) == (["vqa_rad"], {"vqa_rad": "wording"})
    done = run(*alone, "--model_name_or_path", "two", "--output_dir", "three", folder=tmp_path)
    assert "read pairs of vqa_rad with --validation_by wording: with image it reads" in done.stderr


def test_the_second_stage_starts_from_the_first_and_keeps_its_encoders(stages):
    folder, _ = stages
    one, two = (AutoModel.from_pretrained(folder / name) for name in ("one", "two"))
    assert type(two) is AmifForPreTraining
    weights = two.state_dict()
    different = [name for name, weight in one.state_dict().items() if (weights[name] != weight).any()]
    changed = {name.removeprefix("model.").split(".")[0] for name in different}
    assert changed == {"image_projection", "text_projection", "co_attention", "matching_head"}
    processor = AutoProcessor.from_pretrained(folder / "two")
    assert processor.tokenizer.get_vocab() == AutoProcessor.from_pretrained(folder / "one").tokenizer.get_vocab()


def embedded_by(monkeypatch, folder, *arguments):
    """The studies that the teacher embeds in a run, which may end in an error; its own cache is empty."""
    embedded, embed = [], Teacher.embed_texts
    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "embed_texts", lambda self, texts: embedded.extend(texts) or embed(self, texts))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["run_pretraining.py", *SMALL, *map(str, arguments), "--output_dir", "out"])
        try:
            runpy.run_path(str(ROOT / "examples" / "run_pretraining.py"), run_name="__main__")
        except SystemExit as ended:
            return len(embedded), str(ended.__cause__)
    return len(embedded), ""


@pytest.mark.parametrize("workers", [0, 1])
def test_the_teacher_embeds_what_a_run_reads_alone(stages, tmp_path, monkeypatch, workers):
    start = ["--teacher", f"amif:{stages[0] / 'one'}", "--per_device_train_batch_size", "3"]
    alone = ["--eval_strategy", "no", "--load_best_model_at_end", "false"]
    alone += ["--do_eval", "false", "--do_predict", "false"]
    steps = ["--max_steps", "2", "--gradient_accumulation_steps", "2", "--dataloader_num_workers", workers]
    read = 3 * (2 * 2 + 1 + 2 * workers)  # batches of three: two steps of two, and what is fetched ahead
    assert embedded_by(monkeypatch, tmp_path, *start, *alone, *steps) == (read, "")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics.keys() == {"training"}
    if workers == 0:
        shutil.rmtree(tmp_path / "out")
        evaluated = embedded_by(monkeypatch, tmp_path, *start, *steps, "--max_eval_samples", "5")
        assert evaluated == (10, ""), "those of training are kept"


def test_nothing_is_embedded_before_all_else_is_known_to_be_good(stages, tmp_path, monkeypatch):
    start = ["--teacher", f"amif:{stages[0] / 'one'}"]
    embedded, error = embedded_by(monkeypatch, tmp_path, *start, "--hidden_size", "130")
    assert embedded == 0
    assert "130" in error
    shutil.copytree(stages[0] / "one", tmp_path / "out", dirs_exist_ok=True)
    (tmp_path / "out" / "trainer_state.json").unlink()
    resumed = [*start, "--learning_rate", "3e-3", "--resume_from_checkpoint"]
    embedded, error = embedded_by(monkeypatch, tmp_path, *resumed)
    assert embedded == 0
    assert "--learning_rate is 0.003 here" in error


def test_answering_is_fine_tuned_from_either_stage(stages):
    folder, _ = stages
    command = [*SMALL[:4], "--model_name_or_path", "two"]
    command += ["--max_train_samples", "32", "--max_eval_samples", "16", "--num_train_epochs", "1"]
    command += ["--learning_rate", "0", "--weight_decay", "0", "--output_dir", "vqa"]
    done = run_script("run_vqa.py", *command, folder=folder)
    assert done.returncode == 0, done.stderr
    pretrained, answering = (AutoModel.from_pretrained(folder / name) for name in ("two", "vqa"))
    assert type(answering) is AmifForVisualQuestionAnswering
    assert answering.config.trained_on == ["phantom"]
    weights = answering.model.state_dict()
    assert all((weights[name] == weight).all() for name, weight in pretrained.model.state_dict().items())
    assert answering.config.knowledge_size > 0
    tokenizer = AutoProcessor.from_pretrained(folder / "one").tokenizer
    asked = ["orientation", "abnormality", "patient", "yes"]
    assert [tokenizer.tokenize(word) for word in asked] == [[word] for word in asked], "questions are read in words"


def test_shards_are_streamed_with_a_cached_teacher(stages, tmp_path):
    (tmp_path / "shards").mkdir()
    rows = load_pretraining_dataset("phantom", num_studies=20, image_size=32)["train"]
    for name, start, end in (("train-0", 0, 8), ("train-1", 8, 12), ("validation", 12, 14)):
        part = rows.select_columns(["images", "text", "study_id"]).select(range(start, end))
        part.to_parquet(tmp_path / "shards" / f"{name}.parquet")
    command = ["--dataset", "shards", "--image_column", "images", "--streaming", "true", "--max_steps", "4"]
    command += ["--teacher", f"amif:{stages[0] / 'one'}", "--model_name_or_path", stages[0] / "one"]
    command += ["--per_device_train_batch_size", "4", "--disable_tqdm", "true", "--output_dir", "one"]
    done = run(*command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "shards train: a stream of 2 shards studies" in done.stderr
    assert "--eval_strategy epoch and --save_strategy epoch: the passes over a stream end at no one step" in done.stderr
    (embeddings,) = (tmp_path / "one" / "teacher_embeddings").iterdir()
    assert sorted(file.name for file in embeddings.iterdir()) == ["00000-of-00002.parquet", "00001-of-00002.parquet"]
    assert json.loads((tmp_path / "one" / "metrics.json").read_text()).keys() == {"training", "validation"}
    settings = json.loads((tmp_path / "one" / "run_settings.json").read_text())["values"]
    assert settings["training data"].startswith("a stream of 2 shards, sha256 ")


OBJECTIVES = {
    "aga": (AgaForPreTraining, ["--gate", "per_pair"], ["group_hit", "group_chance", "test_group_alignment"]),
    "mpma": (MpmaForPreTraining, ["--memory_size", "7"], ["test_report_reconstruction_of_other_image"]),
}


@pytest.fixture(scope="module", params=OBJECTIVES)
def objective(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("objective")
    options = [
        "--objective",
        request.param,
        *OBJECTIVES[request.param][1],
        "--count_flops",
        "--augment_images",
        "false",
    ]
    done = run(*SMALL, *options, "--output_dir", request.param, folder=folder)
    assert done.returncode == 0, done.stderr
    return request.param, folder


def test_every_objective_leaves_a_checkpoint_its_figures_and_its_cost(objective):
    name, folder = objective
    model_class, _, figures = OBJECTIVES[name]
    model = AutoModel.from_pretrained(folder / name)
    assert type(model) is model_class
    assert model.config.gate == "per_pair" if name == "aga" else model.config.memory_size == 7
    metrics = json.loads((folder / name / "metrics.json").read_text())
    assert metrics["test"].keys() >= {"test_recall_i2t@1", *figures}
    assert metrics["training"]["studies"] == 60
    assert metrics["training"]["flops"] > 1e9
    card = (folder / name / "README.md").read_text()
    assert "as its abstract describes it" in card
    assert "test_recall_t2i@10" in card


def test_answering_is_fine_tuned_from_every_objective(objective):
    name, folder = objective
    command = [*SMALL[:4], "--model_name_or_path", name]
    command += ["--max_train_samples", "32", "--max_eval_samples", "16", "--num_train_epochs", "1"]
    command += ["--learning_rate", "0", "--weight_decay", "0", "--output_dir", "vqa"]
    done = run_script("run_vqa.py", *command, folder=folder)
    assert done.returncode == 0, done.stderr
    weights = AutoModel.from_pretrained(folder / "vqa").model.state_dict()
    encoders = AutoModel.from_pretrained(folder / name).model.state_dict()
    assert all((weights[part] == weight).all() for part, weight in encoders.items())


def test_a_checkpoint_goes_on_with_its_own_objective_alone(objective):
    name, folder = objective
    start = [*SMALL, "--model_name_or_path", name, "--output_dir", "on"]
    assert f"give --objective {name}." in run(*start, folder=folder).stderr
    done = run(*start, "--objective", name, "--learning_rate", "0", "--weight_decay", "0", folder=folder)
    assert done.returncode == 0, done.stderr
    first, second = (AutoModel.from_pretrained(folder / part).state_dict() for part in (name, "on"))
    assert all((second[part] == weight).all() for part, weight in first.items())


def test_the_first_layers_of_pretrained_encoders_and_means(models_dir, tmp_path):
    encoders = ["--vision_model", models_dir / "dinov2-small", "--text_model", models_dir / "minilm-l6"]
    shortened = ["--vision_layers", "2", "--text_layers", "1", "--image_size", "28", "--pooling_mode", "mean"]
    dropout = ["--hidden_dropout_prob", "0.3"]
    done = run(*SMALL, *encoders, *shortened, *dropout, "--output_dir", "one", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    config = AutoModel.from_pretrained(tmp_path / "one").config
    assert config.hidden_dropout_prob == 0.3
    assert (config.vision_config.num_hidden_layers, config.text_config.num_hidden_layers) == (2, 1)
    assert config.pooling_mode == "mean"


@pytest.mark.parametrize(
    ("arguments", "recipe", "message"),
    [
        (["--vision_model", "x"], None, "together"),
        (["--vision_layers", "2"], None, "shorten --vision_model and --text_model"),
        (["recipe.yaml"], "stagee: local", "unknown arguments: stagee"),
        (["recipe.yaml"], "objective: aga\nteacher: amif:x\nnum_studies: 3", "--objective aga has none"),
        (["--objective", "mpma", "--stage", "local"], None, "unknown arguments: --stage local"),
        (["--objective", "clip"], None, "invalid choice: 'clip'"),
        (["--dataset", "shards", "--streaming"], None, "nobody knows how long a stream is, so say how long"),
        (["--streaming", "--max_steps", "3"], None, "phantom has a reader of its own: give the folder"),
        (["--dataset", "x", "--streaming", "--max_train_samples", "3"], None, "count the training studies"),
        (
            ["--dataset", "test.csv"],
            None,
            r"test\.csv has no training studies, but test: name a file",
        ),
    ],
)
def test_wrong_arguments_are_named(tmp_path, monkeypatch, capsys, arguments, recipe, message):
    monkeypatch.chdir(tmp_path)
    if recipe is not None:
        Path("recipe.yaml").write_text(recipe)
    Image.new("L", (8, 8)).save("one.png")
    Path("test.csv").write_text("image,text\none.png,No acute finding.\n")
    monkeypatch.setattr(sys, "argv", ["run_pretraining.py", *arguments])
    with pytest.raises((ValueError, SystemExit)) as ended:
        runpy.run_path(str(ROOT / "examples" / "run_pretraining.py"), run_name="__main__")
    assert re.search(message, f"{ended.value} {capsys.readouterr().err}")
