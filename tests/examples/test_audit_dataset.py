"""The audit script, as a user starts it, on data of one's own."""

import csv
import json

import pytest
from PIL import Image
from started_scripts import run_script


def write_split(folder, split, rows):
    with (folder / f"{split}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "question", "answer"])
        writer.writerows(rows)


@pytest.fixture
def data(tmp_path):
    folder, other = tmp_path / "data", tmp_path / "other"
    for place, name in ((folder, "a"), (folder, "b"), (folder, "c"), (other, "x"), (other, "y")):
        place.mkdir(exist_ok=True)
        coarse = Image.effect_noise((5, 5), 100 + ord(name)) if name != "x" else Image.open(folder / "b.png")
        coarse.resize((90, 70), Image.Resampling.BICUBIC).save(place / f"{name}.png")
    write_split(folder, "train", [("a.png", "Is it?", "yes"), ("b.png", "Where?", "left")])
    write_split(folder, "test", [("a.png", "is it", "no"), ("c.png", "Where?", "right")])
    write_split(other, "train", [("x.png", "Is it?", "yes"), ("y.png", "Is it?", "no")])
    return folder, other


def test_audit_of_a_folder_and_of_what_it_shares_with_another(data, tmp_path):
    folder, other = data
    arguments = ["--dataset", folder, "--against", other, "--output_dir", "out"]
    done = run_script("audit_dataset.py", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    shared = audit["shared_images_by_id"]
    assert (shared["count"], shared["by_splits"]["train/test"]["items"]) == (1, ["a.png"])
    assert audit["repeated_pairs"]["count"] == 0
    assert audit["repeated_pairs_normalized"]["count"] == 1
    assert audit["conflicting_answers"]["items"] == [
        {"image_id": "a.png", "question": "is it", "answers": ["no", "yes"]}
    ]
    assert audit["unseen_answers"]["answers"] == ["no", "right"]
    against = audit["against"]["shared_images_identical"]["by_splits"]
    assert against[f"{other} train/{folder} train"]["items"] == {"b.png": ["x.png"]}
    line = next(line for line in done.stdout.splitlines() if line.startswith("repeated pairs normalized, train/test"))
    assert line.split()[-1] == "1"
    assert "\x1b" not in done.stdout
    assert "│" not in done.stdout


def test_images_may_lie_in_another_folder(data, tmp_path):
    folder, _ = data
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for file in folder.glob("*.png"):
        file.rename(pictures / file.name)
    done = run_script("audit_dataset.py", "--dataset", folder, "--image_dir", pictures, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["shared_images_by_id"]["count"] == 1
