"""The visualization script as a user starts it, on untrained checkpoints of both kinds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from started_scripts import run_script

from amif.training.data.phantom.datasets import load_phantom_pretraining, phantom_vqa_sentences
from amif.training.processors import small_processor
from amif.training.small_model import small_model, small_pretraining_model

ROOT = Path(__file__).parents[2]


def run(*arguments, folder):
    return run_script("visualize.py", *arguments, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    processor = small_processor(phantom_vqa_sentences(60), 32)
    torch.manual_seed(0)
    pretrained = small_pretraining_model(processor, 32, hidden_size=32)
    answering = small_model(processor, 32, hidden_size=32)
    answering.set_knowledge([5, 6, 7])
    for name, model in (("pretrained", pretrained), ("answering", answering)):
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)).save(folder / "image.png")
    return folder


def test_figures_of_ones_own_image_and_of_phantom(folder):
    models = ["--models", "before=pretrained", "after=pretrained"]
    own = ["--image", "image.png", "--text", "A small mass on the left.", "--words", "mass", "left"]
    done = run("transport", *models, *own, "--box", 2, 3, 10, 12, "--output_dir", "own", folder=folder)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (folder / "own").iterdir()} == {"transport.png", "transport.svg"}
    width, height = Image.open(folder / "own" / "transport.png").size
    assert width > 1_500, "wide enough to print"
    assert height > 1_000
    done = run("attention", "--models", "answering", "--phantom", 1, 0, "--num_studies", 60, folder=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "figures" / "attention.svg").is_file()


def test_architectures_and_localization_of_both_kinds(folder):
    done = run("architecture", "--models", "pretrained", "answering", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "decoder" in (folder / "figures" / "architecture-answering.svg").read_text()
    models = ["--models", "pretrained", "answering", "--num_studies", 60, "--output_dir", "measured"]
    done = run("localization", *models, folder=folder)
    assert done.returncode == 0, done.stderr
    findings = load_phantom_pretraining(60)["test"]["finding"]
    measured = json.loads((folder / "measured" / "localization.json").read_text())
    for found in measured.values():
        assert found["n"] == sum(finding is not None for finding in findings)
        for kind in ("transport", "attention"):
            assert 0 < found[kind]["chance"] < 1
            assert 0 <= found[kind]["hit"] <= 1
    assert "pretrained, transport" in done.stdout


def test_what_is_missing_is_said(folder):
    done = run("transport", "--models", "pretrained", folder=folder)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("visualize.py: error: give --image, --text and --words, or --phantom N")
