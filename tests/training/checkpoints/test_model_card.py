import os
import re
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from small_models import WIDTH, small_model
from transformers import BertConfig, PreTrainedConfig, SchedulerType
from transformers.training_args import OptimizerNames
from written_metrics import METRICS

from amif.training.checkpoints.model_card import without_folders, write_model_card, write_pretraining_card
from amif.training.checkpoints.provenance import datasets_of, note_trained_on, parameter_facts
from amif.training.checkpoints.run_settings import RunSettings
from amif.training.evaluation.metrics import RunFacts
from amif.training.evaluation.results import Interval


def trainer(**runtime):
    args = SimpleNamespace(
        train_batch_size=8,
        gradient_accumulation_steps=2,
        world_size=1,
        optim=OptimizerNames.ADAMW_TORCH_FUSED,
        learning_rate=3e-5,
        weight_decay=0.05,
        lr_scheduler_type=SchedulerType.COSINE,
        warmup_steps=0.4,
        bf16=True,
        fp16=False,
        seed=7,
        device=torch.device("cpu"),
    )
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    model[0].requires_grad_(False)
    return SimpleNamespace(
        args=args,
        model=model,
        parameter_facts=parameter_facts(model),
        run_settings=None,
        processing_class=SimpleNamespace(answers=["yes", "no"]),
        state=SimpleNamespace(epoch=2.0, global_step=10, log_history=[{"loss": 1.0}, {"train_runtime": 90.0}]),
    )


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "amif-slake"
    folder.mkdir()
    return folder


def test_card_says_what_was_measured_how_and_on_what(folder, tmp_path):
    write_model_card(folder, METRICS, "models/dinov2-small", "models/minilm-l6", trainer())
    card = ModelCard.load(folder / "README.md")
    for said in (
        'pipeline("medical-vqa", model="amif-slake")',
        "Started from dinov2-small and minilm-l6.",
        "CC-BY-4.0",
        "66.67",
        "30.00 - 90.00",
        "closed (answer_type)",
        "closed (yes/no answer)",
        "baseline question_only",
        "Protocol paper: The candidates are the test answers.",
        "questions 0123456789ab",
        "run_vqa.py --protocol paper",
        "the 2 answers that come with",
        "| parameters | 11, of them 3 trained (27.27 %) |",
        "| batch | 16 |",
        "| optimizer | adamw_torch_fused, learning rate 3e-05, weight decay 0.05, cosine, warm-up 0.4 |",
        "| precision | bfloat16 |",
        "| seed | 7 |",
        "| time | 1.5 minutes |",
        "| hardware | cpu (",
        "Not a medical device",
        "2510.08791",
    ):
        assert said in card.content, said
    assert str(tmp_path) not in card.content
    assert "{{" not in card.content
    assert "{%" not in card.content


def test_card_says_how_many_layers_of_an_encoder_were_kept(folder):
    shortened = small_model(text_config=BertConfig(vocab_size=120, **WIDTH | {"num_hidden_layers": 1}))
    trained = trainer()
    trained.parameter_facts = parameter_facts(shortened)
    write_model_card(folder, METRICS, "models/dinov2-small", "models/minilm-l6", trained)
    assert "| encoder layers | vision 2, text 1 |" in ModelCard.load(folder / "README.md").content


def test_card_names_no_folder_of_its_authors_disk(folder):
    command = "/home/jane/x/run_vqa.py /data/recipe.yaml --data_dir=/data/hospital/slake --learning_rate 1e-4"
    command += " --also_train_on vqa_rad=/mnt/rad out/here"
    metrics = replace(METRICS, fingerprint=replace(METRICS.fingerprint, command=command))
    write_model_card(folder, metrics, None, None, trainer())
    shown = next(line for line in ModelCard.load(folder / "README.md").content.splitlines() if "Command" in line)
    assert shown == (
        "Command: run_vqa.py recipe.yaml --data_dir=slake --learning_rate 1e-4 --also_train_on vqa_rad=rad out/here"
    )


def test_card_of_a_checkpoint_measured_on_other_data_names_the_data_it_was_trained_on(folder):
    write_model_card(folder, replace(METRICS, dataset="questions.csv"), None, None, trainer(), [METRICS.dataset])
    card = ModelCard.load(folder / "README.md")
    assert "CC-BY-4.0" in card.content
    assert "whose licence the publisher" not in card.content


def test_card_names_what_the_starts_learned_from(folder):
    trained = trainer()
    trained.model.config = PreTrainedConfig()
    note_trained_on(trained.model.config, ["rocov2", "vqa_rad=/home/jane/rad"])
    note_trained_on(trained.model.config, ["slake", "/home/jane/questions.csv"])
    assert datasets_of(trained.model.config) == ["rocov2", "vqa_rad", "slake", "questions.csv"]
    write_model_card(folder, METRICS, "stage-one", None, trained)
    content = ModelCard.load(folder / "README.md").content
    assert "CC BY or CC BY-NC, each as its article: weights not for commercial use." in content
    assert "- `vqa_rad`. Licence: CC0-1.0.\n" in content
    assert "- `questions.csv`, whose licence the publisher" in content
    assert content.count("`slake`") == 1
    assert "jane" not in content


def test_the_figure_beside_a_card_is_of_its_result(folder):
    write_model_card(folder, METRICS, None, None)
    content = ModelCard.load(folder / "README.md").content
    shown = re.findall(r"^!\[Right answers in %.*\]\((.+)\)$", content, flags=re.MULTILINE)
    assert [Image.open(folder / name).format for name in shown] == ["PNG"]
    write_model_card(folder, replace(METRICS, scores=replace(METRICS.scores, overall=None)), None, None)
    assert "![" not in ModelCard.load(folder / "README.md").content
    assert not (folder / shown[0]).exists(), "an earlier result's is not published beside this one"
    write_pretraining_card(folder, {"test": {"test_recall_i2t@1": 0.2}}, ["roco"], None, None, None, "Aligns.")
    assert f"({shown[0]})" in ModelCard.load(folder / "README.md").content
    assert (folder / shown[0]).exists()


def test_card_of_a_refit_whose_answers_nobody_could_score(folder):
    refit = replace(METRICS, scores=replace(METRICS.scores, overall=None), run=RunFacts(None, refit=True))
    write_model_card(folder, refit, None, None, trainer())
    content = ModelCard.load(folder / "README.md").content
    assert "Trained on the questions of the validation split too" in content
    assert "None were measured." in content
    write_model_card(folder, METRICS, None, None, trainer())
    assert "validation split too" not in ModelCard.load(folder / "README.md").content


def test_metadata_and_model_index_are_read_back_by_the_hubs_library(folder):
    write_model_card(folder, METRICS, "facebook/dinov2-small", str(folder), None)
    data = ModelCard.load(folder / "README.md", ignore_metadata_errors=False).data
    assert data.pipeline_tag == "visual-question-answering"
    assert data.datasets == ["BoKelvin/SLAKE"]
    assert data.base_model == ["facebook/dinov2-small"], "a folder is no base model on the Hub"
    assert data.model_name == "amif-slake"
    found = {result.metric_name: result.metric_value for result in data.eval_results}
    assert found == {
        "accuracy in %, overall (protocol paper)": 66.67,
        "accuracy in %, closed, answer_type (protocol paper)": 100.0,
        "accuracy in %, open, answer_type (protocol paper)": 50.0,
        "accuracy in %, closed, yes/no answer (protocol paper)": 99.0,
    }
    assert {(result.dataset_type, result.dataset_split) for result in data.eval_results} == {("BoKelvin/SLAKE", "test")}


def test_an_open_clip_model_is_one_base_model_under_the_hubs_name(folder):
    towers = "open_clip:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
    write_model_card(folder, METRICS, towers, towers)
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model == [towers.removeprefix("open_clip:")]
    assert "Started from BiomedCLIP-PubMedBERT_256-vit_base_patch16_224." in card.content


def test_a_card_that_cannot_be_written_leaves_the_earlier_one(folder, monkeypatch):
    (folder / "README.md").write_text("earlier")
    monkeypatch.setattr(os, "replace", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"README\.md could not be written: No space left.*held before is kept"):
        write_model_card(folder, METRICS, None, None)
    assert (folder / "README.md").read_text() == "earlier"
    assert [path.name for path in folder.iterdir()] == ["README.md"]


def test_first_lines_say_what_it_learned_from_and_is_bad_at(folder):
    kinds = {
        name: Interval(value, 0.0, 100.0, 9) for name, value in {"a": 90.0, "b": 5.0, "c": 60.0, "d": 40.0}.items()
    }
    write_model_card(folder, replace(METRICS, scores=replace(METRICS.scores, by_question_type=kinds)), None, None)
    first = (folder / "README.md").read_text().split("# amif-slake")[1].split("## Use")[0]
    assert (
        "Learned from slake. It answers 66.7 % (30.0 - 90.0) of the test questions; the question alone gives 41.0 %."
        in first
    )
    assert "**That it looks at the image is not shown.**" in first
    assert "Worst at b (5.0 %), d (40.0 %), c (60.0 %)." in first
    shown = replace(METRICS, dataset="phantom", above_question_only=Interval(25.67, 5.0, 50.0, 3, "difference"))
    write_model_card(folder, shown, None, None)
    text = (folder / "README.md").read_text()
    assert "Learned from phantom, which are generated drawings: it has seen no real image. It answers" in text
    assert "is not shown" not in text
    assert "Worst at" not in text


def test_ablated_images_are_named_beside_every_figure(folder):
    write_model_card(folder, replace(METRICS, run=RunFacts("blank", refit=False)), None, None)
    data = ModelCard.load(folder / "README.md").data
    assert all("images blank" in result.metric_name for result in data.eval_results)
    assert "It answers 66.7" not in (folder / "README.md").read_text()


def test_card_of_a_new_model_on_own_data_without_references(folder, tmp_path):
    scores = replace(METRICS.scores, overall=None, by_answer_type={}, by_yes_no={})
    write_model_card(folder, replace(METRICS, dataset=str(tmp_path / "mine.csv"), scores=scores), None, None)
    card = ModelCard.load(folder / "README.md")
    assert "Trained from random initialisation." in card.content
    assert "`mine.csv`, whose licence" in card.content
    assert "This run trained nothing." in card.content
    assert card.data.eval_results is None


def test_card_of_a_pretraining_checkpoint(folder):
    metrics = {"test": {"test_loss": 3.0, "test_recall_i2t@5": 0.125, "test_recall_i2t": 0.5}}
    write_pretraining_card(folder, metrics, ["rocov2"], "models/dinov2-small", None, trainer(), "Trained so.")
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag is None
    for said in (
        'AmifForVisualQuestionAnswering.from_pretraining("amif-slake")',
        "test_recall_i2t@5                12.50",
        "the figures are CC BY or CC BY-NC",
        "Started from dinov2-small. Trained so.",
        "| seed | 7 |",
    ):
        assert said in card.content, said
    assert "test_loss" not in card.content


def test_card_of_several_sets_tells_the_licence_size_and_hash_of_each(folder):
    trained = trainer()
    trained.model.config = PreTrainedConfig()
    values = {"--mixing": "equal", "training data": "9 rows, sha256 ab", "training data, roco": "4 rows, sha256 cd"}
    trained.run_settings = RunSettings(values | {"--seed": 7, "validation data": "2 rows, sha256 ef"})
    note_trained_on(trained.model.config, ["roco", "medicat", "slake=folder"])
    write_pretraining_card(folder, {}, ["roco", "medicat"], None, None, trained, "Trained so.")
    card = ModelCard.load(folder / "README.md").content
    licence = "Licence: the figures have the licences of their articles."
    assert f"Several sets at once:\n\n- `roco`. {licence}\n- `medicat`. {licence}\n" in card
    assert card.count("`roco`") == 1
    assert "also learned from:\n\n- `slake`" in card
    for name, value in values.items():
        assert f"| {name.removeprefix('--')} | {value} |" in card
    assert "sha256 ef" not in card
    write_model_card(folder, replace(METRICS, dataset="slake+mine"), None, None, None, ["slake", "path_vqa"])
    assert ModelCard.load(folder / "README.md").data.datasets == ["BoKelvin/SLAKE", "flaviagiammarino/path-vqa"]


@pytest.mark.parametrize(
    ("written", "published"),
    [
        ("run_vqa.py --data_dir /home/jane/rad --seed 1", "run_vqa.py --data_dir rad --seed 1"),
        ("--data_dir '/content/My Drive/jane doe/rad' --seed 1", "--data_dir 'rad' --seed 1"),
        ('{"dataset": "/content/My Drive/q.csv"}', '{"dataset": "q.csv"}'),
        ("--teacher amif:/home/jane/checkpoint", "--teacher amif:checkpoint"),
        ("slake+/home/jane/x.csv+/home/jane/y.csv", "slake+x.csv+y.csv"),
        (
            "https://huggingface.co/user/model, left and/or right",
            "https://huggingface.co/user/model, left and/or right",
        ),
    ],
)
def test_what_is_published_says_nothing_of_its_authors_disk(written, published):
    assert without_folders(written) == published
