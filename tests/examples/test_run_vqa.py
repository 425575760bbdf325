"""The run script, as a user starts it, on a small phantom."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from small_models import save_small_checkpoint
from started_scripts import run_script
from transformers import AutoModel, AutoProcessor
from written_dicom import dicom_and_pixels, named_patients, write_dicom

from amif import AmifForVisualQuestionAnswering
from amif.training.data import load_vqa_dataset
from amif.training.distributed import LOCK_NAME, available_cores, only_run_in

ROOT = Path(__file__).parents[2]
STUDIES = 60
SMALL = [
    "--num_studies",
    str(STUDIES),
    "--max_train_samples",
    "64",
    "--max_eval_samples",
    "40",
    "--num_train_epochs",
    "1",
    "--disable_tqdm",
    "true",
]

KNOWLEDGE = ("--knowledge", "answers")  # which the recipe leaves out
SCRIPT = ROOT / "examples" / "run_vqa.py"


def run(*arguments, folder, launcher=()):
    if not launcher:
        return run_script("run_vqa.py", *arguments, folder=folder)
    command = [sys.executable, *map(str, (*launcher, SCRIPT, *arguments))]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run without a network, whose files are watched."""
    folder, watch = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("watch")
    environment = {"HOME": str(watch / "home"), "TMPDIR": str(watch / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    (watch / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("HF_HOME", raising=False)
        patch.delenv("HF_HUB_OFFLINE")
        done = run(*SMALL, *KNOWLEDGE, folder=folder, launcher=[ROOT / "tests" / "audited_run.py", watch / "written"])
    assert done.returncode == 0, done.stderr
    return folder, done


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_without_arguments_a_checkpoint_with_everything_beside_it(trained):
    folder, done = trained
    output = folder / "amif-vqa"
    assert {path.name for path in folder.iterdir()} == {"amif-vqa"}, "nothing is written outside the output folder"
    written = {path.name for path in output.iterdir()}
    assert written >= {
        "model.safetensors",
        "config.json",
        "processor_config.json",
        "modeling_amif.py",
        "processing_amif.py",
        "README.md",
        "metrics.json",
        "predictions.jsonl",
        "report.html",
        "test_evaluations.jsonl",
    }
    assert "training_args.bin" not in written
    assert json.loads((output / "config.json").read_text())["trained_on"] == ["phantom"]
    assert "Protocol clean" in done.stdout


def test_the_report_shows_every_question_its_image_and_the_training(trained):
    output = trained[0] / "amif-vqa"
    rows, text = lines(output / "predictions.jsonl"), (output / "report.html").read_text()
    held = json.loads(re.findall(r'<script type="application/json" id="images">(.*?)</script>', text)[0])
    assert len(held) == len({row["image_id"] for row in rows})
    assert text.count('data-verdict="right"') == sum(row["correct"] for row in rows)
    assert text.count("<li ") == len(rows)
    assert "The model was trained on phantom." in text
    assert '<th scope="row">epochs, steps</th>' in text


def test_every_checkpoint_answers(trained):
    output = trained[0] / "amif-vqa"
    answers = AutoProcessor.from_pretrained(output).answers
    checkpoints = list(output.glob("checkpoint-*"))
    assert checkpoints
    assert answers
    assert [AutoProcessor.from_pretrained(folder).answers for folder in checkpoints] == [answers] * len(checkpoints)


def test_no_file_is_written_outside_the_output_folder(trained, tmp_path_factory):
    watch = tmp_path_factory.getbasetemp() / "watch0"
    opened = {Path(line) for line in (watch / "written").read_text().splitlines()}
    assert trained[0] / "amif-vqa" / "trainer_state.json" in opened, "files are watched"
    elsewhere = {path for path in opened if not path.is_relative_to(trained[0] / "amif-vqa")}
    assert {path for path in elsewhere if not path.is_relative_to(watch / "tmp")} <= {Path("/dev/null")}
    assert not [path for path in watch.rglob("*") if path.is_file() and path.name != "written"]


def test_a_finished_run_that_is_resumed_only_evaluates(trained, tmp_path):
    output = tmp_path / "amif-vqa"
    shutil.copytree(trained[0] / "amif-vqa", output)
    changes_nothing = ["--logging_steps", "3", "--dataloader_num_workers", "1", "--save_total_limit", "2"]
    done = run(*SMALL, *KNOWLEDGE, *changes_nothing, "--resume_from_checkpoint", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Training had ended: amif-vqa is evaluated." in done.stderr
    assert "is not checked" not in done.stderr
    assert lines(output / "predictions.jsonl") == lines(trained[0] / "amif-vqa" / "predictions.jsonl")
    before, after = ((folder / "amif-vqa" / "README.md").read_text() for folder in (trained[0], tmp_path))
    facts = before[before.index("## Training") : before.index("| hardware")]
    assert "| epochs, steps | 1, 1 |" in facts
    assert facts in after, "the card still says how it was trained"


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_is_not_gone_on_with_by_other_settings(trained, tmp_path, ended):
    """Ended, it was evaluated as if it were the new one; in the middle, other rows ended in a mismatch of sizes."""
    output = tmp_path / "amif-vqa"
    shutil.copytree(trained[0] / "amif-vqa", output)
    if not ended:
        (output / "trainer_state.json").unlink()
    other = ["--learning_rate", "0.5", "--seed", "7", "--max_train_samples", "32"]
    done = run(*SMALL, *KNOWLEDGE, *other, "--resume_from_checkpoint", folder=tmp_path)
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("run_vqa.py: error: ")]
    assert f"amif-vqa{'' if ended else '/checkpoint-1'} was trained by other settings" in error
    assert "--learning_rate is 0.5 here and 0.001 there; --max_train_samples is 32 here and 64 there" in error
    assert "--seed is 7 here and 42 there; training data is 32 rows" in error
    for file in ("metrics.json", "predictions.jsonl", "README.md"):
        assert (output / file).read_bytes() == (trained[0] / "amif-vqa" / file).read_bytes()


def test_a_second_run_in_one_output_folder_is_refused(trained, tmp_path):
    output = tmp_path / "amif-vqa"
    output.mkdir()
    with only_run_in(output):
        done = run(*SMALL, folder=tmp_path)
    assert done.returncode == 1
    assert "run_vqa.py: error: Another run is at work in the output folder amif-vqa: wait until it" in done.stderr
    assert {path.name for path in output.iterdir()} == {LOCK_NAME}


@pytest.mark.slow
def test_a_killed_reader_of_data_is_told_and_the_run_goes_on_from_its_checkpoint(tmp_path):
    longer = [*SMALL, "--num_train_epochs", "30", "--dataloader_num_workers", "2", "--eval_strategy", "no"]
    longer += ["--load_best_model_at_end", "false", "--augment_images"]
    command = [sys.executable, str(SCRIPT), *longer]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
    while not list(tmp_path.glob("amif-vqa/checkpoint-*/trainer_state.json")) and first.poll() is None:
        time.sleep(0.05)
    while first.poll() is None and not (readers := children.read_text().split()):
        time.sleep(0.001)
    os.kill(int(readers[0]), signal.SIGKILL)
    _, error = first.communicate()
    assert first.returncode == 1
    assert "run_vqa.py: error: A process that reads data was killed, most often because memory ran out" in error
    resumed = run(*longer, "--dataloader_num_workers", "0", "--resume_from_checkpoint", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "Training goes on from amif-vqa/checkpoint-" in resumed.stderr


def test_two_processes_train_and_answer_each_question_once(trained, tmp_path):
    two = ["-m", "torch.distributed.run", "--nproc_per_node", 2, "--master_port", free_port()]
    done = run(*SMALL, "--use_cpu", "--bf16", "false", "--output_dir", "two", folder=tmp_path, launcher=two)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "two").glob("checkpoint-*/rng_state*")} == {
        "rng_state_0.pth",
        "rng_state_1.pth",
    }, "there were two processes"
    assert done.stdout.count("Protocol clean") == 1
    again = run(
        *SMALL,
        "--bf16",
        "false",
        "--model_name_or_path",
        "two",
        "--do_train",
        "false",
        "--output_dir",
        "one",
        folder=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    rows, expected = (lines(tmp_path / name / "predictions.jsonl") for name in ("two", "one"))
    assert [row["question_id"] for row in rows] == [row["question_id"] for row in expected]
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in expected]
    assert [row["score"] for row in rows] == pytest.approx([row["score"] for row in expected], rel=1e-4)
    metrics, alone = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("two", "one"))
    assert metrics["overall"] == alone["overall"]
    assert metrics["by_question_type"] == alone["by_question_type"]


def test_metrics_agree_with_the_predictions(trained):
    output = trained[0] / "amif-vqa"
    metrics, rows = json.loads((output / "metrics.json").read_text()), lines(output / "predictions.jsonl")
    assert (metrics["protocol"], metrics["dataset"], metrics["split"], metrics["n"]) == ("clean", "phantom", "test", 40)
    expected = 100 * sum(row["prediction"] == row["answer"].replace("x-ray", "xray") for row in rows) / 40
    assert metrics["overall"]["accuracy"] == pytest.approx(expected)
    assert metrics["baselines"]["question_only"]["n"] == 40
    test = load_vqa_dataset("phantom", num_studies=STUDIES)["test"].select(range(40))
    assert [row["question_id"] for row in rows] == list(test["question_id"])
    assert len(lines(output / "test_evaluations.jsonl")) == 1


def test_the_checkpoint_answers_as_the_script_did(trained):
    output = trained[0] / "amif-vqa"
    model, processor = AutoModel.from_pretrained(output).eval(), AutoProcessor.from_pretrained(output)
    assert type(model) is AmifForVisualQuestionAnswering
    row, predicted = load_vqa_dataset("phantom", num_studies=STUDIES)["test"][0], lines(output / "predictions.jsonl")[0]
    inputs = processor(images=row["image"], text=row["question"])
    ranking = model.rank_answers(**inputs, answers=processor.encode_answers())
    # The script answered in bfloat16.
    assert ranking.scores[0, 0].item() == pytest.approx(predicted["score"], rel=0.05, abs=0.05)


def test_a_checkpoint_that_is_only_read_on_a_full_disk_loses_no_answer(trained, tmp_path):
    output, only_read, full = trained[0] / "amif-vqa", tmp_path / "only_read", tmp_path / "full"
    looks = lines(output / "test_evaluations.jsonl")
    only_read.mkdir()
    full.mkdir()
    if subprocess.run(["mount", "--bind", output, only_read], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs rights of root")
    again = ("--model_name_or_path", only_read, "--do_train", "false", "--output_dir", full, *SMALL)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", only_read], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", full], check=True)
        done = run(*again, folder=tmp_path)
        assert done.returncode == 1
        said = done.stderr.strip().splitlines()[-1]
        assert f"{full / 'predictions.jsonl'} could not be written: No space left on device; other files" in said
        assert "so are the answers, in predictions.partial-* beside it" in said
        assert "start the same command again, which goes on from them" in said
        assert sum(len(lines(path)) for path in full.glob("predictions.partial-*.jsonl")) == 40
        assert not (full / "predictions.jsonl").exists()
        subprocess.run(["mount", "-o", "remount,size=1m", full], check=True)
        done = run(*again, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert lines(full / "predictions.jsonl") == lines(output / "predictions.jsonl")
        assert not list(full.glob("predictions.partial-*"))
        # Both looks are told, and where they may be.
        assert len(lines(full / "test_evaluations.jsonl")) == 2
        assert lines(output / "test_evaluations.jsonl") == looks
    finally:
        subprocess.run(["umount", only_read, full], check=False)


def test_evaluating_a_checkpoint_repeats_its_numbers_and_records_the_look(trained, tmp_path):
    """Started by `accelerate launch`, which leaves torch one thread on a CPU."""
    output, accelerate = trained[0] / "amif-vqa", ("-m", "accelerate.commands.launch", "--num_processes", 1)
    again = ("--model_name_or_path", output, "--do_train", "false", "--output_dir", "again")
    done = run(*again, *SMALL, folder=tmp_path, launcher=accelerate)
    assert done.returncode == 0, done.stderr
    # Other work may keep cores busy, but the launcher's one thread is not what follows from it.
    threads = re.search(r"Running on the CPU with (\d+) threads?(: other work keeps (\d+) of|\.)", done.stderr)
    assert int(threads[1]) + int(threads[3] or 0) == available_cores()
    before, after = (json.loads((f / "metrics.json").read_text()) for f in (output, tmp_path / "again"))
    assert after["overall"] == before["overall"]
    assert after["fingerprint"]["questions_sha256"] == before["fingerprint"]["questions_sha256"]
    assert not list((tmp_path / "again").glob("*.safetensors"))


def test_paper_protocol_and_ablation_say_so(trained, tmp_path):
    arguments = ["--model_name_or_path", trained[0] / "amif-vqa", "--do_train", "false", "--image_size", "48", *SMALL]
    done = run(*arguments, "--protocol", "paper", "--ablate_image", "blank", "--output_dir", "o", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert (metrics["protocol"], metrics["ablate_image"]) == ("paper", "blank")
    assert "the published protocol" in done.stdout
    assert "--image_size 48 is for training: the checkpoint's images keep 96 pixels a side." in done.stderr


def test_validation_made_in_another_way_is_refused(trained, tmp_path):
    arguments = ["--model_name_or_path", trained[0] / "amif-vqa", "--do_train", "false", *SMALL]
    done = run(*arguments, "--validation_by", "question", "--eval_split", "validation", folder=tmp_path)
    assert done.returncode != 0
    assert "trained on phantom with --validation_by image: with question, training and validation" in done.stderr


def test_questions_without_answers_are_answered_and_not_scored(trained, tmp_path):
    Image.new("L", (96, 96), 90).save(tmp_path / "one.png")
    text = 'image,question,patient\none.png,is there a mass?,007\none.png,what organ is this?,"=1, b"\n'
    (tmp_path / "questions.csv").write_text(text)
    arguments = ["--model_name_or_path", trained[0] / "amif-vqa", "--do_train", "false", *SMALL]
    done = run(*arguments, "--predict_file", "questions.csv", "--output_dir", "o", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    rows, metrics = (
        lines(tmp_path / "o" / "predictions.jsonl"),
        json.loads((tmp_path / "o" / "metrics.json").read_text()),
    )
    assert [row["question"] for row in rows] == ["is there a mass?", "what organ is this?"]
    assert all(row["prediction"] and row["correct"] is None for row in rows)
    assert metrics["overall"] is None
    assert metrics["unscored"] == 2
    with (tmp_path / "o" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["patient"] for row in table] == ["007", "=1, b"]
    assert [row["prediction"] for row in table] == [row["prediction"] for row in rows]
    assert {row["prediction"] for row in rows} <= set(AutoProcessor.from_pretrained(trained[0] / "amif-vqa").answers)
    assert "phantom" not in done.stderr, "no data set is needed to answer"


def test_questions_about_dicom_are_answered_as_about_the_same_pixels(tmp_path):
    """And no output, file or log says who the patient is."""
    save_small_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "images").mkdir()
    expected = dicom_and_pixels(tmp_path / "images")
    write_dicom(tmp_path / "images" / "report", np.zeros((4, 4), np.uint8), Modality="SR")
    for name, pixels in expected.items():
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    names = [*expected, *(f"{name}.png" for name in expected), "report"]
    (tmp_path / "questions.csv").write_text("image,question\n" + "".join(f"{name},left lung?\n" for name in names))
    done = run(
        *("--model_name_or_path", "checkpoint", "--do_train", "false", "--output_dir", "o", "--on_bad_row", "skip"),
        *("--predict_file", "questions.csv", "--image_dir", "images"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    answers = [(row["prediction"], pytest.approx(row["score"])) for row in lines(tmp_path / "o" / "predictions.jsonl")]
    assert len(answers) == 6
    assert answers[:3] == answers[3:]
    assert "report holds no DICOM image, but an object of the kind Structured Report" in done.stderr
    written = [path.read_text(errors="replace") for path in (tmp_path / "o").rglob("*") if path.is_file()]
    assert not named_patients(done.stdout, done.stderr, *written)


def test_a_threshold_is_chosen_on_validation_before_new_questions_are_answered(trained, tmp_path):
    shutil.copytree(trained[0] / "amif-vqa", tmp_path / "checkpoint")
    Image.new("L", (96, 96), 90).save(tmp_path / "one.png")
    (tmp_path / "questions.csv").write_text("image,question\none.png,is there a mass?\n")
    arguments = ["--model_name_or_path", "checkpoint", "--do_train", "false", "--abstention_error_rate", "1", *SMALL]
    done = run(*arguments, "--predict_file", "questions.csv", "--output_dir", "o", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row["question"] for row in lines(tmp_path / "o" / "predictions.jsonl")] == ["is there a mass?"]
    assert AutoProcessor.from_pretrained(tmp_path / "checkpoint").abstention_threshold is not None


def test_a_labelled_test_file_alone_is_scored_among_the_checkpoints_answers(trained, tmp_path):
    Image.new("L", (96, 96), 90).save(tmp_path / "one.png")
    (tmp_path / "test.csv").write_text("image,question,answer\none.png,is there a mass?,no\none.png,is it?,purple\n")
    arguments = ["--model_name_or_path", trained[0] / "amif-vqa", "--do_train", "false", "--dataset", "test.csv"]
    done = run(*arguments, "--output_dir", "o", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert (metrics["overall"]["n"], metrics["protocol"], metrics["baselines"]) == (2, "clean", {})
    assert "The answers of 1 of 2 questions are not among the" in done.stderr


def test_questions_are_learned_from_a_stream(tmp_path):
    (tmp_path / "shards").mkdir()
    rows = load_vqa_dataset("phantom", num_studies=STUDIES)["train"].select_columns(["image", "question", "answer"])
    for name, start, end in (("train-0", 0, 20), ("train-1", 20, 30), ("test", 30, 36)):
        rows.select(range(start, end)).to_parquet(tmp_path / "shards" / f"{name}.parquet")
    command = ["--dataset", "shards", "--streaming", "true", "--max_steps", "3", "--num_co_attention_layers", "1"]
    command += ["--per_device_train_batch_size", "8", "--hidden_size", "32", "--image_size", "32"]
    done = run(*command, "--output_dir", "one", "--disable_tqdm", "true", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The stream has no validation split, and none is made of it" in done.stderr
    processor = AutoProcessor.from_pretrained(tmp_path / "one")
    answers = {processor.normalize_answer(answer) for answer in rows.select(range(30))["answer"]}
    assert set(processor.answers) == answers
    assert json.loads((tmp_path / "one" / "metrics.json").read_text())["overall"]["n"] == 6
    refused = run(*command, "--max_train_samples", "4", folder=tmp_path)
    assert "--max_train_samples: this takes the training rows as a whole, which a stream is not" in refused.stderr


def test_refit_trains_on_validation_and_chooses_nothing_there(tmp_path):
    fixed = ["--eval_strategy", "no", "--load_best_model_at_end", "false", "--output_dir", "refit"]
    done = run(*SMALL, "--refit", *fixed, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "phantom train: 104 questions" in done.stderr
    assert "phantom validation" not in done.stderr
    assert json.loads((tmp_path / "refit" / "metrics.json").read_text())["refit"]
    assert "trained on validation too" in (tmp_path / "refit" / "README.md").read_text()
    evaluation = ["--model_name_or_path", "refit", "--do_train", "false", "--output_dir", "evaluation"]
    for choosing in (["--eval_split", "validation"], ["--eval_split", "test", "--abstention_error_rate", "0.1"]):
        done = run(*SMALL, *evaluation, *choosing, folder=tmp_path)
        assert "trained on phantom's validation questions too (--refit)" in done.stderr
    assert "nothing can be chosen there: add --eval_strategy no" in run(*SMALL, "--refit", folder=tmp_path).stderr
    done = run(*SMALL, "--refit", *fixed, "--abstention_error_rate", "0.1", folder=tmp_path)
    assert "which --refit trains on: drop one" in done.stderr


def test_output_folder_is_tried_before_the_data_are_read(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("--output_dir", "file/out", folder=tmp_path)
    assert done.returncode != 0
    assert "Choose another --output_dir" in done.stderr
    assert "phantom train" not in done.stderr


def test_unknown_recipe_arguments_are_named(tmp_path):
    (tmp_path / "recipe.yaml").write_text("dataset: phantom\nlerning_rate: 1\n")
    done = run("recipe.yaml", folder=tmp_path)
    assert done.returncode != 0
    assert "unknown arguments: lerning_rate" in done.stderr


def test_half_a_pair_of_encoders_is_refused(tmp_path):
    done = run("--dataset", "phantom", "--vision_model", "x", folder=tmp_path)
    assert "--vision_model and --text_model together" in done.stderr


def test_grounding_and_abstention_of_a_checkpoint(trained):
    """The threshold is chosen on validation, saved with the checkpoint, and reported on the evaluated split."""
    folder, _ = trained
    copy = folder.parent / "grounded"
    shutil.copytree(folder / "amif-vqa", copy / "amif-vqa")
    evaluate = ("--model_name_or_path", "amif-vqa", "--do_train", "false", "--output_dir", "eval")
    measured = ("--grounding_shuffles", "2", "--abstention_error_rate", "1", "--measure_knowledge", "true")
    done = run(*SMALL, *evaluate, *measured, folder=copy)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((copy / "eval" / "metrics.json").read_text())
    found = metrics["grounding"]
    assert found["real"] == metrics["overall"]
    assert len(found["shuffled"]) == 2
    mean = sum(shuffle["accuracy"] for shuffle in found["shuffled"]) / 2
    assert found["visual_reliance"]["difference"] == pytest.approx(found["real"]["accuracy"] - mean)
    assert 1 <= metrics["knowledge"]["mean_rank"] <= metrics["knowledge"]["entries"]
    assert metrics["knowledge"]["n"] <= metrics["overall"]["n"]
    alike = found["among_alike"]
    assert 0 < alike["real"]["n"] <= found["real"]["n"]
    lost = alike["real"]["accuracy"] - alike["shuffled_mean"]["accuracy"]
    assert alike["visual_reliance"]["difference"] == pytest.approx(lost)
    assert set(alike["by_modality"]) <= set(metrics["by_modality"])
    threshold = AutoProcessor.from_pretrained(copy / "amif-vqa").abstention_threshold
    rows = lines(copy / "eval" / "predictions.jsonl")
    kept = [row for row in rows if row["score"] >= threshold]
    assert metrics["confidence"]["abstention"]["threshold"] == threshold
    assert metrics["confidence"]["abstention"]["coverage"]["share"] == pytest.approx(100 * len(kept) / len(rows))


def test_lora_leaves_the_adapter_and_a_whole_model(trained, tmp_path):
    base = trained[0] / "amif-vqa"
    # The last weights, not the best: the first step of the warm-up changes nothing and may answer best.
    last = ("--load_best_model_at_end", "false", "--per_device_train_batch_size", "16", "--output_dir", "lora")
    lora = (*SMALL, "--use_lora", "--lora_rank", "2", *last)
    done = run(*lora, "--model_name_or_path", base, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "lora"
    card = (output / "README.md").read_text()
    assert "| adapters | LoRA of rank 2, alpha 4 |" in card
    merged, start = AutoModel.from_pretrained(output).eval(), AutoModel.from_pretrained(base).eval()
    adapted = PeftModel.from_pretrained(AutoModel.from_pretrained(base), output / "adapter").eval()
    inputs = AutoProcessor.from_pretrained(output)(images=Image.new("L", (96, 96), 90), text="is there a mass?")
    torch.testing.assert_close(merged(**inputs).logits, adapted(**inputs).logits, rtol=1e-4, atol=1e-4)
    assert (merged(**inputs).logits - start(**inputs).logits).abs().max() > 0.01
    again = run(*lora, "--model_name_or_path", base, "--resume_from_checkpoint", folder=tmp_path)
    assert "Training had ended: lora is evaluated." in again.stderr
    facts = [line for line in card.splitlines() if line.startswith(("| parameters", "| adapters"))]
    assert len(facts) == 2
    assert set(facts) <= set((output / "README.md").read_text().splitlines()), "what was trained, not what is evaluated"


def test_lora_needs_something_to_adapt(tmp_path):
    done = run(*SMALL, "--use_lora", folder=tmp_path)
    assert "--use_lora adapts pretrained weights" in done.stderr
