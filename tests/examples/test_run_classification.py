"""The classification script, as a user starts it, on a checkpoint whose image encoder is not trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from started_scripts import run_script

from amif import MpmaForPreTraining
from amif.training.processors import small_processor
from amif.training.small_model import small_pretraining_model

ROOT = Path(__file__).parents[2]


def run(*arguments, folder):
    return run_script("run_classification.py", *arguments, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint in `model`, and bright and dark images in train, validation and test files."""
    folder = tmp_path_factory.mktemp("classification")
    processor = small_processor(["bright or dark", "axial ct of the chest"], 32)
    torch.manual_seed(0)
    small_pretraining_model(processor, 32, model_class=MpmaForPreTraining).save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("validation", 8), ("test", 12)):
        lines = ["file,tone,tags"]
        for row in range(count):
            label = ("bright", "dark")[row % 2]
            noise = generator.integers(0, 40, (40, 40)) + (180 if label == "bright" else 20)
            Image.fromarray(noise.astype("uint8")).save(folder / f"{split}{row}.png")
            lines.append(f"{split}{row}.png,{label},{label};{('', 'third')[row % 3 == 0]}")
        blank = 255 * np.ones((40, 40), dtype="uint8")
        Image.fromarray(blank).save(folder / f"{split}_blank.png")
        lines.append(f"{split}_blank.png,bright,")
        (folder / f"{split}.csv").write_text("\n".join(lines))
    return folder


def test_phantoms_labels_are_told_from_prompts_and_by_a_probe(folder):
    done = run("--model_name_or_path", "model", "--num_studies", "120", "--label_column", "organ", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "zero-shot, accuracy" in done.stdout
    metrics = json.loads((folder / "classification/metrics.json").read_text())
    assert (metrics["objective"], metrics["label_column"], metrics["split"]) == ("mpma", "organ", "test")
    assert set(metrics["zero-shot"]["prompts"]) == {"chest", "brain", "abdomen"}
    assert metrics["linear probe"]["auroc"]["auroc"] > 80, "random features tell the body's shape"
    assert metrics["most frequent label"]["auroc"]["auroc"] == 50


def test_own_images_of_one_label_need_no_text(folder):
    own = ["--dataset", ".", "--image_column", "file", "--label_column", "tone", "--prompt_template", "a {} picture"]
    (folder / "images").mkdir(exist_ok=True)
    done = run("--model_name_or_path", "model", *own, "--output_dir", "own", folder=folder)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((folder / "own/metrics.json").read_text())
    assert metrics["linear probe"]["accuracy"] == {"accuracy": 100.0, "ci95": [100.0, 100.0], "n": 13}
    assert metrics["zero-shot"]["prompts"] == {"bright": ["a bright picture"], "dark": ["a dark picture"]}


def test_own_images_of_several_labels_and_prompts_of_some(folder):
    (folder / "prompts.json").write_text('{"bright": "bright", "dark": ["dark", "darkness"], "brigth": "bright"}')
    own = ["--dataset", ".", "--image_column", "file", "--label_column", "tags", "--label_separator", ";"]
    done = run(
        "--model_name_or_path", "model", *own, "--prompts", "prompts.json", "--output_dir", "tags", folder=folder
    )
    assert done.returncode == 0, done.stderr
    assert "prompts.json has prompts of brigth, which no image has as a label." in done.stderr
    metrics = json.loads((folder / "tags/metrics.json").read_text())
    assert metrics["linear probe"]["by_label"]["bright"]["auroc"]["auroc"] == 100
    assert metrics["linear probe"]["by_label"]["third"]["positives"] == 4
    assert metrics["linear probe"]["accuracy"]["n"] == 13, "an image without a label is one of none"
    assert metrics["zero-shot"]["accuracy"]["n"] == 12
    assert metrics["linear probe"]["accuracy"]["accuracy"] > metrics["most frequent label"]["accuracy"]["accuracy"]


def test_without_images_of_one_label_alone_the_probe_is_still_measured(folder):
    (folder / "pairs").mkdir()
    for split in ("train", "validation", "test"):
        rows = [f"../{split}{row}.png,{('bright;dark', '')[row % 2]}" for row in range(8)]
        (folder / "pairs" / f"{split}.csv").write_text("\n".join(["file,tags", *rows]))
    own = ["--dataset", "pairs", "--image_column", "file", "--label_column", "tags", "--label_separator", ";"]
    done = run("--model_name_or_path", "model", *own, "--output_dir", "none", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "No image has exactly one of the labels with prompts" in done.stderr
    assert {"linear probe"} <= json.loads((folder / "none/metrics.json").read_text()).keys()


def test_a_missing_column_is_named(folder):
    done = run("--model_name_or_path", "model", "--num_studies", "3", "--label_column", "age", folder=folder)
    assert "There is no column 'age' of labels; there are images, text" in done.stderr
    assert "--label_column" in run("--dataset", "train.csv", folder=folder).stderr
