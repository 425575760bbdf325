"""What an interrupted evaluation leaves, and what the next one takes from it."""

import json
import math
import os

import pytest
import torch
from small_models import small_model
from small_runs import CANDIDATES, build_data, build_processor, trainer

from amif.training.data import replace_images
from amif.training.evaluation import partial_predictions
from amif.training.evaluation.partial_predictions import PartialPredictions, remove_partial_predictions
from amif.training.evaluation.prediction_rows import prediction_rows
from amif.training.fine_tuning.arguments import FineTuningDataArguments
from amif.training.fine_tuning.evaluation import measure_grounding


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_data(tmp_path_factory.mktemp("images"))


ANSWERS = {4: ("yes", -0.12345678901234567), 2: ("no", None)}


def append(written, rows):
    written.append(rows, [f"q{row}" for row in rows], [ANSWERS[row] for row in rows])


def test_lines_of_all_processes_are_read_back_exactly(tmp_path):
    append(PartialPredictions(tmp_path, "print", 0), [4])
    append(PartialPredictions(tmp_path, "print", 1), [2])
    assert PartialPredictions(tmp_path, "print").read() == ANSWERS
    assert PartialPredictions(tmp_path, "another").read() == {}
    line = json.loads((tmp_path / "predictions.partial-0.jsonl").read_text())
    assert (line["question_id"], line["prediction"]) == ("q4", "yes")


def test_line_cut_off_is_left_out_and_not_appended_to(tmp_path):
    first = PartialPredictions(tmp_path, "print")
    append(first, [4])
    append(first, [2])
    first.file.write_text(first.file.read_text()[:-9])
    again = PartialPredictions(tmp_path, "print")
    assert again.read() == {4: ANSWERS[4]}
    again.tidy()
    append(again, [2])
    assert again.read() == ANSWERS
    remove_partial_predictions(tmp_path)
    assert not list(tmp_path.iterdir())


NAMES = ("fingerprint", "row", "question_id", "prediction", "score")


def damaged(text):
    """Ways in which one line of a file differs from what was written."""
    line = json.loads(text)
    without_hash = {name: line[name] for name in NAMES}
    return {
        "cut within a letter": text[: text.index("ä".encode()) + 1],
        "a number": b"5\n",
        "a text": b'"yes"\n',
        "a list": b"[]\n",
        "null": b"null\n",
        "no UTF-8": b"\xff\xfe\n",
        "zero bytes": b"\0" * 50 + b"\n",
        "too deep": b"[" * 100_000 + b"\n",
        "NaN": json.dumps(without_hash | {"score": math.nan}).encode() + b"\n",
        "a score in words": json.dumps(without_hash | {"score": "-0.5"}).encode() + b"\n",
        "a row in words": json.dumps(without_hash | {"row": "7"}).encode() + b"\n",
        "no row": json.dumps({name: line[name] for name in NAMES if name != "row"}).encode() + b"\n",
        "another answer": text.replace("lär".encode(), b"other"),
        "another row": text.replace(b'"row": 7', b'"row": 4'),
        "another score": text.replace(b"-0.5", b"-0.4"),
        "no hash's name": text.replace(b'"check"', b'"chuck"').replace(b"-0.5", b"-0.4"),
        "another hash": text.replace(b'"check": "', b'"check": "0'),
    }


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(partial_predictions.logger, "warning", found.append)
    return found


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_line_is_dropped_and_counted_and_the_others_are_kept(tmp_path, warnings, place):
    written = PartialPredictions(tmp_path, "print")
    append(written, [4, 2])
    others = written.file.read_bytes().splitlines(keepends=True)
    written.append([7], ["q7"], [("lär", -0.5)])
    text = written.file.read_bytes().splitlines(keepends=True)[-1]
    for name, line in damaged(text).items():
        written.file.write_bytes(b"".join([*others[:place], line.rstrip(b"\n"), b"\n", *others[place:]]))
        warnings.clear()
        again = PartialPredictions(tmp_path, "print")
        assert again.read() == ANSWERS, name
        assert warnings == [
            f"{written.file}: 1 of 3 lines are cut off, damaged or changed: dropped, and their questions are answered "
            "again."
        ], name
        again.tidy()
        warnings.clear()
        again.append([7], ["q7"], [("lär", -0.5)])
        assert again.read() == ANSWERS | {7: ("lär", -0.5)}, name
        assert not warnings, name
        remove_partial_predictions(tmp_path)
        assert not list(tmp_path.iterdir())


def test_answers_of_another_evaluation_outlive_one_that_is_interrupted(tmp_path):
    append(PartialPredictions(tmp_path, "print"), [4, 2])
    other = PartialPredictions(tmp_path, "another")
    other.tidy()
    other.append([4], ["q4"], [("no", None)])
    assert other.read() == {4: ("no", None)}
    PartialPredictions(tmp_path, "print").tidy()
    assert PartialPredictions(tmp_path, "print").read() == ANSWERS


@pytest.mark.parametrize("replaced", ["os.replace", "pathlib.Path.unlink"])
def test_tidying_that_fails_loses_nothing(tmp_path, monkeypatch, replaced):
    append(PartialPredictions(tmp_path, "print", 0), [4])
    append(PartialPredictions(tmp_path, "print", 1), [2])
    with monkeypatch.context() as broken:
        broken.setattr(replaced, lambda *args, **options: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OSError, match="No space left"):
            PartialPredictions(tmp_path, "print").tidy()
    assert PartialPredictions(tmp_path, "print").read() == ANSWERS


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_named_and_not_written(tmp_path, score):
    written = PartialPredictions(tmp_path, "print")
    append(written, [4])
    with pytest.raises(ValueError, match=r"question q2 has the score .*weights"):
        written.append([1, 2], ["q1", "q2"], [("yes", -1.0), ("no", score)])
    assert written.read() == {4: ANSWERS[4]}


class Killed(BaseException):
    """Stands for SIGKILL."""


def interrupted_after(batches, folder, run, data, monkeypatch):
    answer, calls = run.prediction_step, []

    def counting(*args, **options):
        calls.append(1)
        if len(calls) > batches:
            raise Killed
        return answer(*args, **options)

    monkeypatch.setattr(run, "prediction_step", counting)
    with pytest.raises(Killed):
        run.predict_answers(data, folder)
    monkeypatch.setattr(run, "prediction_step", answer)


def batches_answered(run, data, folder, monkeypatch):
    answer, calls = run.prediction_step, []
    monkeypatch.setattr(run, "prediction_step", lambda *args, **options: calls.append(1) or answer(*args, **options))
    answers = run.predict_answers(data, folder)
    monkeypatch.setattr(run, "prediction_step", answer)
    return answers, len(calls)


@pytest.mark.parametrize("candidates", [CANDIDATES, None])
def test_restarted_evaluation_goes_on_and_ends_the_same(tmp_path, processor, data, monkeypatch, candidates):
    # 24 questions, an odd batch: images are cut between batches, and the last batch is short.
    run = trainer(tmp_path, processor, data, per_device_eval_batch_size=5)
    run.candidates = candidates
    expected = run.predict_answers(data)
    interrupted_after(3, tmp_path, run, data, monkeypatch)
    again = trainer(tmp_path, processor, data, per_device_eval_batch_size=5)
    again.candidates = candidates
    assert batches_answered(again, data, tmp_path, monkeypatch) == (expected, 2)


def test_interrupted_grounding_goes_on_and_ends_the_same(tmp_path, processor, data, monkeypatch):
    data_args = FineTuningDataArguments(grounding_shuffles=2)
    # One weight start for both, as of one checkpoint.
    weights = small_model().state_dict()

    def measured(folder, batches=math.inf):
        run = trainer(folder, processor, data, small_model(), per_device_eval_batch_size=5)
        run.model.load_state_dict(weights)
        run.candidates = CANDIDATES
        answer, calls = run.prediction_step, []

        def counting(*args, **options):
            if len(calls) == batches:
                raise Killed
            calls.append(1)
            return answer(*args, **options)

        monkeypatch.setattr(run, "prediction_step", counting)
        rows = prediction_rows(data, *run.predict_answers(data, folder))
        return measure_grounding(run, data, rows, data_args.dataset, data_args.grounding_shuffles), len(calls)

    expected, all_batches = measured(tmp_path / "whole")
    assert all_batches == 3 * 5 + 1, "24 questions on real images and two shuffles; two are left on blank ones"
    with pytest.raises(Killed):
        measured(tmp_path / "killed", batches=12)
    assert measured(tmp_path / "killed") == (expected, all_batches - 12)
    assert len(list((tmp_path / "killed").iterdir())) == 4
    remove_partial_predictions(tmp_path / "killed")
    assert not list((tmp_path / "killed").iterdir())


def change_weights(run, data):
    with torch.no_grad():
        run.model.decoder.cls.predictions.bias[5] += 1
    return data


def change_candidates(run, data):
    run.candidates = CANDIDATES[::-1]
    return data


def change_questions(run, data):
    return data.map(lambda row: {"question": row["question"] + " image"})


def change_images(run, data):
    return replace_images(data, "shuffle", 0)


def touch_an_image(run, data):
    os.utime(data[23]["image"].filename)
    return data


def change_batches(run, data):
    run.args.per_device_eval_batch_size = 6
    return data


CHANGES = [change_weights, change_candidates, change_questions, change_images, touch_an_image, change_batches]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_taken_from_another_evaluation(tmp_path, processor, data, monkeypatch, change):
    run = trainer(tmp_path, processor, data, small_model(), per_device_eval_batch_size=5)
    interrupted_after(3, tmp_path, run, data, monkeypatch)
    changed = change(run, data)
    expected = run.predict_answers(changed)
    answers, batches = batches_answered(run, changed, tmp_path, monkeypatch)
    assert batches == -(-24 // run.args.per_device_eval_batch_size)
    assert answers == expected


def test_nothing_is_taken_from_answers_generated_to_another_length(tmp_path, processor, data, monkeypatch):
    run = trainer(tmp_path, processor, data, per_device_eval_batch_size=5)
    run.candidates, run.model.generation_config.max_new_tokens = None, 1
    interrupted_after(3, tmp_path, run, data, monkeypatch)
    run.model.generation_config.max_new_tokens = 3
    expected = run.predict_answers(data)
    assert batches_answered(run, data, tmp_path, monkeypatch) == (expected, 5)
