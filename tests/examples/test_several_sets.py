"""Several data sets at once, as a user names them: in pre-training and in fine-tuning."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from started_scripts import run_script

FAST = ["--disable_tqdm", "true", "--num_co_attention_layers", "1", "--hidden_size", "32", "--image_size", "32"]
FAST += ["--per_device_train_batch_size", "5", "--eval_strategy", "no", "--load_best_model_at_end", "false"]
STUDIES = {"train": 4, "validation": 2, "test": 2}
PAIRS = [*FAST, "--dataset", "roco=roco", "phantom", "--num_studies", "20", "--augment_images", "false"]
PAIRS += ["--mixing", "equal", "--num_train_epochs", "2", "--save_steps", "2", "--save_strategy", "steps"]


def image(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8))


def roco(folder):
    """ROCO's layout, a few images and captions a split."""
    for number, (split, count) in enumerate(STUDIES.items()):
        (folder / split / "radiology" / "images").mkdir(parents=True)
        names = [f"ROCO_{number}{study}" for study in range(count)]
        for seed, name in enumerate(names):
            image(10 * number + seed).save(folder / split / "radiology" / "images" / f"{name}.jpg")
        (folder / split / "radiology" / "captions.txt").write_text(
            "".join(f"{name}\tA mass in image {name}.\n" for name in names)
        )


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    roco(folder / "roco")
    done = run_script("run_pretraining.py", *PAIRS, "--save_total_limit", "9", "--output_dir", "one", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_pretraining_counts_and_evaluates_each_set(pretrained):
    folder, done = pretrained
    metrics = json.loads((folder / "one" / "metrics.json").read_text())
    assert metrics["studies"]["train"] == {"roco": 4, "phantom": 14}
    assert "roco+phantom train: 18 (roco 4, phantom 14) studies" in done.stderr
    assert "roco: 50.0 % of 28 rows an epoch, each of its 4 rows 3.5 times." in done.stderr
    assert metrics["training"]["studies"] == 2 * 30, "six batches of five an epoch"
    assert {"test", "test_roco", "test_phantom", "validation_roco"} <= metrics.keys()
    truth = "rank_correlation_text_text"
    assert truth in metrics["test_phantom"]
    assert truth not in metrics["test"]
    assert truth not in metrics["test_roco"]
    assert "roco+phantom, test_roco, 2 studies" in done.stdout


def test_a_checkpoint_of_several_sets_tells_their_licences_sizes_and_hashes(pretrained):
    folder, _ = pretrained
    card = (folder / "one" / "README.md").read_text()
    assert "- `roco`. Licence: the figures have the licences of their articles.\n- `phantom`. Licence" in card
    kept = json.loads((folder / "one" / "run_settings.json").read_text())["values"]
    assert kept["--dataset"] == ["roco", "phantom"]
    assert kept["--mixing"] == "equal"
    for name in ("training data, roco", "training data, phantom"):
        assert f"| {name} | {kept[name]} |" in card
    assert kept["training data, roco"].startswith("4 rows, sha256 ")
    assert json.loads((folder / "one" / "config.json").read_text())["trained_on"] == ["roco", "phantom"]


def test_an_interrupted_run_goes_on_with_the_same_mixture(pretrained, tmp_path):
    folder, _ = pretrained
    shutil.copytree(folder / "roco", tmp_path / "roco")
    (tmp_path / "one").mkdir()
    for kept in ("checkpoint-2", "run_settings.json"):
        copy = shutil.copytree if (folder / "one" / kept).is_dir() else shutil.copy
        copy(folder / "one" / kept, tmp_path / "one" / kept)
    resumed = ["--output_dir", "one", "--resume_from_checkpoint", "--do_eval", "false", "--do_predict", "false"]
    done = run_script("run_pretraining.py", *PAIRS, *resumed, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Training goes on from" in done.stderr
    first, second = (load_file(where / "one" / "model.safetensors") for where in (folder, tmp_path))
    assert all((weight == second[name]).all() for name, weight in first.items())
    other = [*PAIRS, *resumed, "--mixing", "1", "3"]
    done = run_script("run_pretraining.py", *other, folder=tmp_path)
    assert '--mixing is ["1", "3"] here and equal there' in done.stderr


def hospital(folder):
    """Own questions without a validation split."""
    folder.mkdir()
    for split, seeds in (("train", range(8)), ("test", range(8, 11))):
        for seed in seeds:
            image(100 + seed).save(folder / f"{seed}.png")
        rows = [
            {"image": f"{seed}.png", "question": "is it large", "answer": ("yes", "no")[seed % 2]} for seed in seeds
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_fine_tuning_trains_and_evaluates_on_each_set(tmp_path):
    hospital(tmp_path / "hospital")
    command = [*FAST, "--dataset", "phantom", "hospital", "--num_studies", "10", "--mixing", "1", "1"]
    command += ["--max_train_samples", "20", "--max_eval_samples", "3", "--num_train_epochs", "1"]
    done = run_script("run_vqa.py", *command, "--output_dir", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["dataset"] == "phantom+hospital"
    assert {name: of["n"] for name, of in metrics["by_dataset"].items()} == {"phantom": 3, "hospital": 3}
    assert metrics["training_rows"] == {"phantom": 20, "hospital": 6}
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert {(row["dataset_name"], row["question_id"].partition("/")[0]) for row in rows} == {
        ("phantom", "phantom"),
        ("hospital", "hospital"),
    }
    own = [row["correct"] for row in rows if row["dataset_name"] == "hospital"]
    assert metrics["by_dataset"]["hospital"]["accuracy"] == pytest.approx(100 * sum(own) / 3)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- `hospital`, whose licence the publisher" in card
    assert "| training data, hospital | 6 rows, sha256 " in card
    assert "data set hospital" in done.stdout
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["trained_on"] == ["phantom", "hospital"]
    assert config["validation_by"] == {"phantom": "image", "hospital": "image"}
    again = ["--do_train", "false", "--model_name_or_path", "out", "--output_dir", "again"]
    done = run_script("run_vqa.py", *command[len(FAST) :][:5], "--max_eval_samples", "3", *again, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    repeated = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert repeated["by_dataset"] == metrics["by_dataset"]
    assert "training_rows" not in repeated


def test_folders_that_do_not_fit_end_a_script_with_a_line(tmp_path):
    for script in ("run_pretraining.py", "run_vqa.py"):
        named = ["vqa_rad", "slake"] if script == "run_vqa.py" else ["mimic_cxr", "roco"]
        done = run_script(script, "--dataset", *named, "--data_dir", "A", folder=tmp_path)
        assert done.returncode == 2
        assert f"--data_dir is A, and of --dataset 2 need a folder from there ({', '.join(named)})" in done.stderr
    done = run_script("run_retrieval.py", "--dataset", "roco=A", "phantom", folder=tmp_path)
    assert "name one, for this is done for each set by itself" in done.stderr
