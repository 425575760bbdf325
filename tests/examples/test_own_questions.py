"""Own questions with choices, several answers and long ones, through the scripts as a user starts them."""

import json
from collections import Counter

import pytest
from PIL import Image
from started_scripts import run_script

SMALL = ("--image_size", "16", "--hidden_size", "16", "--disable_tqdm", "true", "--max_steps", "2", "--use_cpu")
COLOURS = ["dark", "grey", "bright"]


def write_questions(path, numbers, **more):
    """A question an image; every second has three choices, the others two."""
    rows = []
    for number in numbers:
        own, name = COLOURS[: 3 - number % 2], f"{number}.png"
        Image.new("L", (16, 16), 60 * (number % 3)).save(path.parent / name)
        rows.append({"image": name, "question": f"how is it? {number}", "answer": COLOURS[number % 2], "choices": own})
    path.write_text("".join(json.dumps(row | {name: make(row) for name, make in more.items()}) + "\n" for row in rows))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model trained on own choices, and evaluated so."""
    folder = tmp_path_factory.mktemp("own")
    for split, numbers in (("train", range(12)), ("validation", range(12, 16)), ("test", range(16, 24))):
        write_questions(folder / f"{split}.jsonl", numbers)
    done = run_script("run_vqa.py", *SMALL, "--dataset", folder, "--protocol", "choices", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_the_protocol_choices_ranks_each_questions_own_beside_chance(trained):
    folder, done = trained
    metrics = json.loads((folder / "amif-vqa" / "metrics.json").read_text())
    assert metrics["protocol"] == metrics["fingerprint"]["protocol"] == "choices"
    assert metrics["baselines"]["chance"]["accuracy"] == pytest.approx(100 * (1 / 2 + 1 / 3) / 2)
    assert "baseline chance" in done.stdout
    rows = lines(folder / "amif-vqa" / "predictions.jsonl")
    assert Counter(len(row["choices"]) for row in rows) == {2: 4, 3: 4}
    assert all(row["prediction"] in row["choices"] for row in rows)
    assert "accuracy in %, overall (protocol choices)" in (folder / "amif-vqa" / "README.md").read_text()
    assert metrics["overall"]["accuracy"] == 100 * sum(row["prediction"] == row["answer"] for row in rows) / 8


def test_new_questions_are_answered_from_their_choices(trained):
    folder, _ = trained
    asked = write_questions(folder / "asked.jsonl", range(4), choices=lambda row: ["Yes.", row["answer"]])
    options = ("--do_train", "false", "--predict_file", asked, "--output_dir", "answers")
    done = run_script("run_vqa.py", "--model_name_or_path", "amif-vqa", "--dataset", folder, *options, folder=folder)
    assert done.returncode == 0, done.stderr
    rows = lines(folder / "answers" / "predictions.jsonl")
    assert [row["choices"][0] for row in rows] == ["Yes."] * 4
    assert all(row["prediction"] in row["choices"] for row in rows)
    assert "each question is answered from its own choices" in done.stderr


def test_a_set_without_choices_is_refused(trained):
    folder, _ = trained
    bare = write_questions(folder / "test_bare.jsonl", range(3), choices=lambda _: None)
    options = ("--do_train", "false", "--dataset", bare, "--protocol", "choices", "--output_dir", "refused")
    done = run_script("run_vqa.py", "--model_name_or_path", "amif-vqa", *options, folder=folder)
    assert done.returncode != 0
    assert "3 of 3 test questions have none, the first of them row 0 (counted from 0): give them in a" in done.stderr
    assert "column choices" in done.stderr
    predictions = folder / "amif-vqa" / "predictions.jsonl"
    options = ("--dataset", bare, "--predictions", predictions, "--protocol", "choices")
    done = run_script("evaluate_predictions.py", *options, folder=folder)
    assert "3 of 3 test questions have none" in done.stderr


@pytest.mark.parametrize(("answers", "right"), [("any", 3), ("all", 2)])
def test_several_right_answers_are_scored_as_any_or_as_a_set(tmp_path, answers, right):
    references = [["Effusion", "mass"], ["mass", "effusion."], ["mass", "effusion"], "tooth #14"]
    said = ["mass", "effusion | Mass" if answers == "all" else "effusion", "lung", "Tooth 14"]
    own = {"choices": lambda _: None, "answer": lambda _: references.pop(0)}
    path = write_questions(tmp_path / "test.jsonl", range(4), **own)
    rows = [{"id": f"{number}.png|how is it? {number}", "prediction": text} for number, text in enumerate(said)]
    (tmp_path / "said.json").write_text(json.dumps(rows))
    options = ("--dataset", path, "--predictions", "said.json", "--answers", answers, "--output_dir", "out")
    done = run_script("evaluate_predictions.py", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["overall"]["accuracy"] == 25 * right
