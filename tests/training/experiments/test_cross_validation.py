"""Cross-validation on scripts that are played: who trains on what, who answers what, and what is compared."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from amif.training.data import load_vqa_dataset
from amif.training.data.splits import NUM_FOLDS
from amif.training.evaluation.prediction_rows import prediction_rows
from amif.training.evaluation.result_files import to_json, write_jsonl
from amif.training.experiments.cross_validation import cross_validate, fold_runs
from amif.training.experiments.runs import Experiments


@pytest.fixture
def data(tmp_path):
    rows = []
    for image in range(12):
        Image.new("L", (4, 4), image * 20).save(tmp_path / f"{image}.png")
        answer = "no" if image % 3 == 0 else "yes"
        rows += [(f"{image}.png", "is there a mass?", answer), (f"{image}.png", "which?", "left")]
    with open(tmp_path / "train.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "question", "answer"), *rows])
    return str(tmp_path / "train.csv")


class Player:
    """Plays run_vqa.py: it answers "yes" to all about real images, and nothing rightly about blank ones."""

    def __init__(self):
        self.calls = []

    def __call__(self, script, arguments, folder, log):
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        self.calls.append(options)
        splits = load_vqa_dataset(options["--dataset"], validation_fold=int(options["--validation_fold"]))
        answer = "?" if options.get("--ablate_image") == "blank" else "yes"
        answers = [answer] * len(splits["validation"])
        output = folder / options["--output_dir"]
        write_jsonl(output / "predictions.jsonl", prediction_rows(splits["validation"], answers))
        (output / "metrics.json").write_text(json.dumps({}))


@pytest.fixture
def played(data, tmp_path):
    player = Player()
    experiments = Experiments(tmp_path / "folds", tmp_path, player)
    arguments = {"dataset": data, "vision_model": "v", "text_model": "t", "num_train_epochs": 2, "bf16": True}
    return cross_validate(experiments, arguments, "command"), player, experiments, arguments


def test_all_questions_are_answered_once(played, data):
    result, *_ = played
    rows, metrics = result.predictions, json.loads(to_json(result))
    whole = load_vqa_dataset(data, validation_by=None)["train"]
    assert sorted(row.question_id for row in rows) == sorted(whole["question_id"])
    assert metrics["overall"]["accuracy"] == pytest.approx(100 * 8 / 24)
    assert sum(fold["n"] for fold in metrics["folds"]) == metrics["n"] == 24
    right = sum(fold["accuracy"] * fold["n"] for fold in metrics["folds"])
    assert right / 24 == pytest.approx(metrics["overall"]["accuracy"])


def test_the_question_alone_learns_from_the_rows_of_each_fold(played, data):
    metrics = json.loads(to_json(played[0]))
    right = 0
    for fold in range(1, NUM_FOLDS + 1):
        splits = load_vqa_dataset(data, validation_fold=fold)
        known = list(zip(splits["train"]["question"], splits["train"]["answer"], strict=True))
        for question, answer in zip(splits["validation"]["question"], splits["validation"]["answer"], strict=True):
            given = sorted(other for asked, other in known if asked == question)
            right += max(given, key=given.count) == answer
    assert metrics["baselines"]["question_only"]["accuracy"] == pytest.approx(100 * right / 24)
    assert metrics["comparisons"]["question_only"]["difference"] == pytest.approx(100 * (8 - right) / 24)
    assert metrics["baselines"]["blank_images"]["accuracy"] == 0
    assert metrics["comparisons"]["blank_images"]["difference"] == pytest.approx(100 * 8 / 24)


def test_nothing_is_chosen_and_blank_images_are_shown_to_the_model_of_their_fold(played):
    _, player, experiments, arguments = played
    assert len(player.calls) == 2 * NUM_FOLDS
    for fold in range(1, NUM_FOLDS + 1):
        trained, blank = (call for call in player.calls if call["--validation_fold"] == str(fold))
        assert (trained["--load_best_model_at_end"], trained["--eval_strategy"]) == ("false", "no")
        assert trained["--vision_model"] == "v"
        assert blank["--model_name_or_path"] == trained["--output_dir"] == fold_runs(arguments, fold)[0].name
        assert "--vision_model" not in blank
        assert (blank["--do_train"], blank["--eval_split"]) == ("false", "validation")
    cross_validate(experiments, arguments, "command")
    assert len(player.calls) == 2 * NUM_FOLDS, "what is done is not done again"


def test_what_chooses_on_the_evaluated_questions_is_refused(data, tmp_path):
    player = Player()
    arguments = {"dataset": data, "refit": True, "early_stopping_patience": 2}
    with pytest.raises(ValueError, match="leave out early_stopping_patience, refit"):
        cross_validate(Experiments(tmp_path, tmp_path, player), arguments, "")
    assert player.calls == []


@pytest.mark.parametrize("name", ["validation_fold", "eval_split", "do_train", "output_dir"])
def test_what_the_folds_say_is_refused(data, tmp_path, name):
    """It was overwritten without a word."""
    with pytest.raises(ValueError, match=f"{name}: the chain of runs says that itself. Leave it out"):
        cross_validate(Experiments(tmp_path, tmp_path, Player()), {"dataset": data, name: "x"}, "")


def test_data_that_have_changed_since_the_runs_are_refused(played, data):
    *_, experiments, arguments = played
    text = Path(data).read_text()
    Path(data).write_text(text.replace("0.png,is there a mass?,no", "0.png,is there a mass?,yes"))
    with pytest.raises(ValueError, match="data have changed since these runs were made: give another --output_dir"):
        cross_validate(experiments, arguments, "command")


def test_data_with_a_validation_split_of_their_own_are_refused_before_any_run(tmp_path):
    player = Player()
    with pytest.raises(ValueError, match="these data have train, validation, test: leave it out"):
        cross_validate(Experiments(tmp_path, tmp_path, player), {"dataset": "phantom", "num_studies": "40"}, "")
    assert player.calls == []
