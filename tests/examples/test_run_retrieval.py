"""The retrieval script, as a user starts it, on a checkpoint of another objective and on one's own pairs."""

import json
from pathlib import Path

import pytest
import torch
from started_scripts import run_script

from amif import AgaForPreTraining
from amif.training.data.phantom.datasets import load_phantom_pretraining
from amif.training.processors import small_processor
from amif.training.small_model import small_pretraining_model

ROOT = Path(__file__).parents[2]


def run(*arguments, folder):
    return run_script("run_retrieval.py", *arguments, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint in `model`, and eight pairs in `test.csv` of which two have the same report."""
    folder = tmp_path_factory.mktemp("retrieval")
    studies = load_phantom_pretraining(num_studies=40, image_size=32)["test"]
    processor = small_processor(studies["text"], 32)
    torch.manual_seed(0)
    small_pretraining_model(processor, 32, model_class=AgaForPreTraining).save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    lines = ["file,report"]
    for row, study in enumerate(studies):
        study["images"][0].save(folder / f"{row}.png")
        lines.append(f'{row}.png,"{studies[max(row, 1)]["text"]}"')
    (folder / "test.csv").write_text("\n".join(lines))
    return folder


def test_phantom_is_retrieved(folder):
    done = run("--model_name_or_path", "model", "--num_studies", "60", "--split", "validation", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "phantom, validation: retrieval among 6 pairs" in done.stdout
    metrics = json.loads((folder / "retrieval/metrics.json").read_text())
    assert (metrics["objective"], metrics["split"], metrics["n"]) == ("aga", "validation", 6)
    assert metrics["text_to_image"]["recall@10"]["recall"] == 100


def test_own_pairs_are_retrieved_and_equal_reports_are_hits(folder):
    own = ["--dataset", "test.csv", "--image_column", "file", "--text_column", "report"]
    done = run("--model_name_or_path", "model", *own, "--output_dir", "own", folder=folder)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((folder / "own/metrics.json").read_text())
    assert 100 * 1 / metrics["n"] < metrics["chance@1"] <= 100 * 2 / metrics["n"]


def test_what_is_no_pretraining_checkpoint_or_split_is_named(folder):
    assert "no config.json" in run("--model_name_or_path", ".", folder=folder).stderr
    done = run("--model_name_or_path", "model", "--num_studies", "3", "--split", "dev", folder=folder)
    assert "phantom has no split 'dev'; it has train, validation, test." in done.stderr
