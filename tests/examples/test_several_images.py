"""Questions about two images, from a table to answers, by the scripts as a user starts them."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from small_models import save_small_checkpoint
from started_scripts import run_script

from amif import AmifForVisualQuestionAnswering

LEVELS = {"dark": 40, "bright": 210}

QUESTION = "what is first and what is second?"


def write_pairs(folder, **numbers):
    """Tables of pairs of a dark or bright image, all four kinds equally often; the answer says which comes first."""
    generator, files = np.random.default_rng(0), iter(range(10_000))
    folder.mkdir()
    for split, number in numbers.items():
        rows = []
        for row in range(number):
            shades = (("dark", "bright")[row % 2], ("dark", "bright")[row // 2 % 2])
            names = [f"{next(files)}.png" for _ in shades]
            for shade, name in zip(shades, names, strict=True):
                pixels = np.clip(LEVELS[shade] + generator.normal(0, 20, (32, 32)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
            rows.append({"image": " | ".join(names), "question": QUESTION, "answer": " ".join(shades)})
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def run(folder, *arguments):
    words = ("--dataset", "pairs", "--eval_split", "test", "--use_cpu", "true", "--disable_tqdm", "true", *arguments)
    done = run_script("run_vqa.py", *words, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "learned from one image" not in done.stderr
    output = folder / arguments[arguments.index("--output_dir") + 1]
    predictions = [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]
    return json.loads((output / "metrics.json").read_text())["overall"]["accuracy"], predictions


def test_a_checkpoint_of_single_images_learns_and_answers_of_two(tmp_path):
    """By adapters, on states that are kept: the embedding is trained whole, and each image is encoded by itself."""
    write_pairs(tmp_path / "pairs", train=8, validation=4, test=4)
    save_small_checkpoint(tmp_path / "one")
    steps = ("--max_steps", 1, "--learning_rate", 0.01, "--warmup_steps", 0, "--per_device_train_batch_size", 8)
    lora = ("--use_lora", "true", "--freeze_vision_encoder", "true", "--ablate_image", "shuffle")
    _, predictions = run(tmp_path, "--model_name_or_path", "one", "--output_dir", "two", *steps, *lora)
    assert [row["image_id"] for row in predictions] == [f"{place}.png|{place + 1}.png" for place in range(24, 32, 2)]
    assert all(row["prediction"] in {"dark dark", "dark bright", "bright dark", "bright bright"} for row in predictions)
    embedding = AmifForVisualQuestionAnswering.from_pretrained(tmp_path / "two").model.view_embedding.weight
    assert embedding.any(dim=1).tolist() == [True, True, False, False]
    adapter = load_file(tmp_path / "two" / "adapter" / "adapter_model.safetensors")
    assert sum("view_embedding" in name for name in adapter) == 1


@pytest.mark.slow
def test_a_trained_model_reads_both_images_in_their_order(tmp_path):
    """From nothing: each image decides one word of the answer, and without the right images no more than chance."""
    write_pairs(tmp_path / "pairs", train=192, validation=48, test=48)
    small = ("--image_size", 32, "--hidden_size", 64, "--num_co_attention_layers", 1, "--knowledge", "none")
    rates = ("--learning_rate", 1e-3, "--vision_learning_rate", 1e-3, "--adam_beta2", 0.999, "--warmup_steps", 0.05)
    steps = ("--num_train_epochs", 12, "--per_device_train_batch_size", 16, "--attention_probs_dropout_prob", 0)
    accuracy, _ = run(tmp_path, *small, *rates, *steps, "--output_dir", "trained")
    assert accuracy > 90
    known = ("--model_name_or_path", "trained", "--do_train", "false")
    accuracy, predictions = run(tmp_path, *known, "--ablate_image", "shuffle", "--output_dir", "shuffled")
    assert accuracy < 50
    for place in (0, 1):  # each word by itself: half are right by chance
        right = [row["prediction"].split()[place] == row["answer"].split()[place] for row in predictions]
        assert sum(right) < 0.75 * len(right)
