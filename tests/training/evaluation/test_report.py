import hashlib
import json
from datetime import datetime

import numpy as np
import pytest
from datasets import Dataset, Features, Image, Value

from amif.training.evaluation.report import (
    accuracy_with_interval,
    append_test_evaluation,
    baseline_accuracies,
    build_metrics,
    checkpoint_sha256,
    evaluation_fingerprint,
    format_table,
    prediction_rows,
    score_rows,
    write_json,
    write_jsonl,
)

CONTRACT = {
    *("question_id", "image_id", "question", "answer", "prediction", "score", "correct", "answer_type", "yes_no")
}
COLUMNS = ("question_id", "image_id", "question", "answer", "answer_type", "question_type")


def table(*rows):
    values = [list(column) for column in zip(*rows, strict=True)]
    features = Features({name: Value("string") for name in COLUMNS})
    return Dataset.from_dict(dict(zip(COLUMNS, values, strict=True)), features=features)


@pytest.fixture
def dataset():
    return table(
        ("1", "a", "Is it enlarged?", "Yes", "closed", "size"),
        ("2", "a", "Left or right?", "left", "closed", "position"),
        ("3", "b", "Which organ?", "liver", "open", "organ"),
        ("4", "b", "Is it clear?", "no", "closed", None),
        ("5", "c", "Which plane?", None, "open", "plane"),
    )


@pytest.fixture
def rows(dataset):
    return prediction_rows(
        dataset, ["yes.", "right", "LIVER", "yes", "axial"], [-0.5, -1, np.float32(-2), None, -np.inf]
    )


@pytest.fixture
def metrics(rows, dataset):
    return build_metrics(
        rows,
        protocol="paper",
        dataset_name="tiny",
        split="test",
        baselines=baseline_accuracies(dataset, dataset),
        fingerprint=evaluation_fingerprint(rows, seed=3, command="run_vqa.py --seed 3"),
    )


def test_prediction_rows_hold_the_contract(rows):
    assert all(set(row) >= CONTRACT for row in rows)
    assert [row["correct"] for row in rows] == [True, False, True, False, None]
    assert [row["yes_no"] for row in rows] == [True, False, False, True, None]
    assert [row["score"] for row in rows] == [-0.5, -1.0, -2.0, None, None]
    assert [row["prediction"] for row in rows] == ["yes.", "right", "LIVER", "yes", "axial"]


def test_prediction_rows_refuse_a_lost_prediction(dataset):
    with pytest.raises(ValueError, match="zip"):
        prediction_rows(dataset, ["yes"] * 4)


def test_images_are_not_opened(dataset):
    with_images = dataset.add_column("image", ["/nowhere.png"] * 5).cast_column("image", Image())
    assert len(prediction_rows(with_images, ["yes"] * 5)) == 5
    assert baseline_accuracies(with_images, with_images)


def test_groups_follow_both_definitions_of_closed(rows):
    scores = score_rows(rows)
    assert (scores["n"], scores["unscored"], scores["overall"]["n"]) == (5, 1, 4)
    assert scores["overall"]["accuracy"] == 50.0
    summary = {
        name: {group: (round(result["accuracy"], 2), result["n"]) for group, result in scores[name].items()}
        for name in ("by_answer_type", "by_yes_no", "by_question_type")
    }
    assert summary == {
        "by_answer_type": {"closed": (33.33, 3), "open": (100.0, 1)},
        "by_yes_no": {"closed": (50.0, 2), "open": (50.0, 2)},
        "by_question_type": {
            "organ": (100.0, 1),
            "position": (0.0, 1),
            "size": (100.0, 1),
            "unspecified": (0.0, 1),
        },
    }


def test_a_set_without_types_has_no_groups_by_type():
    rows = prediction_rows(table(("1", "a", "Is it?", "yes", None, None)), ["yes"])
    scores = score_rows(rows)
    assert scores["by_answer_type"] == scores["by_question_type"] == {}
    assert list(scores["by_yes_no"]) == ["closed"]


def test_the_paper_counts_of_vqa_rad_give_its_percentages():
    """219 of 251 yes/no and 144 of 200 other questions are the one solution of the paper's 87.25, 72.00, 80.49."""
    references = ["yes"] * 251 + ["left lung"] * 200
    predictions = ["yes"] * 219 + ["no"] * 32 + ["left lung"] * 144 + ["heart"] * 56
    dataset = table(*((str(i), str(i % 203), "q", answer, None, None) for i, answer in enumerate(references)))
    scores = score_rows(prediction_rows(dataset, predictions))
    values = [scores["by_yes_no"]["closed"], scores["by_yes_no"]["open"], scores["overall"]]
    assert [(round(value["accuracy"], 2), value["n"]) for value in values] == [(87.25, 251), (72.0, 200), (80.49, 451)]
    assert all(value["ci95"][0] < value["accuracy"] < value["ci95"][1] for value in values)


def test_the_interval_draws_images_not_questions():
    together = [{"correct": index < 50, "image_id": str(index // 10)} for index in range(100)]
    apart = [{"correct": index < 50, "image_id": str(index)} for index in range(100)]
    widths = [np.diff(accuracy_with_interval(rows)["ci95"]) for rows in (together, apart)]
    assert widths[0] > 2.5 * widths[1]


def test_slake_english_counts_appear(data_dir):
    file = json.loads((data_dir / "slake" / "test.json").read_text(encoding="utf-8"))
    english = [row for row in file if row["q_lang"] == "en"]
    names = ("qid", "img_id", "question", "answer")
    dataset = table(
        *((*(str(row[name]) for name in names), row["answer_type"].lower(), row["content_type"]) for row in english)
    )
    rows = prediction_rows(dataset, [row["answer"].upper() for row in english])
    scores = score_rows(rows)
    assert {group: result["n"] for group, result in scores["by_answer_type"].items()} == {"closed": 416, "open": 645}
    assert {group: result["n"] for group, result in scores["by_yes_no"].items()} == {"closed": 355, "open": 706}
    assert scores["overall"] == {"accuracy": 100.0, "ci95": [100.0, 100.0], "n": 1061}
    assert sum(result["n"] for result in scores["by_question_type"].values()) == 1061
    fingerprint = evaluation_fingerprint(rows, seed=0, command="")
    assert fingerprint["answer_type_counts"] == {"closed": 416, "open": 645}
    assert fingerprint["yes_no_counts"] == {"closed": 355, "open": 706}


def test_without_references_nothing_is_scored_and_the_log_says_so(dataset, caplog):
    unanswered = dataset.remove_columns("answer").add_column("answer", [None] * 5)
    with caplog.at_level("WARNING"):
        scores = score_rows(prediction_rows(unanswered, ["yes"] * 5))
    assert scores["overall"] is None
    assert (scores["n"], scores["unscored"]) == (5, 5)
    assert scores["by_answer_type"] == scores["by_yes_no"] == scores["by_question_type"] == {}
    assert "None of the 5 questions" in caplog.text
    assert baseline_accuracies(dataset, unanswered)["question_only"] is None


def test_baselines_are_scored_by_the_same_rule(dataset):
    training = table(
        ("1", "z", "is it enlarged", "yes", None, "size"),
        ("2", "z", "Is it clear?", "no", None, "size"),
        ("3", "z", "Is it clear?", "no", None, "size"),
    )
    result = baseline_accuracies(training, dataset)
    assert {name: (value["accuracy"], value["n"]) for name, value in result.items()} == {
        "most_frequent_by_question_type": (25.0, 4),
        "question_only": (50.0, 4),
        "always_no": (50.0, 2),
    }


def test_metrics_hold_the_contract_and_survive_json(metrics, tmp_path):
    contract = "protocol dataset split n overall by_answer_type by_yes_no by_question_type baselines fingerprint"
    assert set(metrics) >= set(contract.split())
    write_json(tmp_path / "metrics.json", metrics)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics


def test_unknown_protocol_is_refused(rows):
    with pytest.raises(ValueError, match="oracle"):
        build_metrics(rows, protocol="oracle", dataset_name="t", split="test", baselines={}, fingerprint={})


def test_fingerprint_names_the_questions_whatever_their_order(rows):
    fingerprint = evaluation_fingerprint(rows, seed=3, command="c")
    assert evaluation_fingerprint(rows[::-1], seed=3, command="c") == fingerprint
    assert fingerprint["answer_type_counts"] == {"closed": 3, "open": 2}
    assert fingerprint["yes_no_counts"] == {"closed": 2, "open": 2}
    assert set(fingerprint["versions"]) == {"amif", "torch", "transformers"}
    changed = [{**rows[0], "question": "Is it small?"}, *rows[1:]]
    assert evaluation_fingerprint(changed, seed=3, command="c")["questions_sha256"] != fingerprint["questions_sha256"]


def test_jsonl_is_a_row_a_line(rows, tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_jsonl(path, [*rows, {"prediction": "sténose\nsévère"}])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [*rows, {"prediction": "sténose\nsévère"}]


def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"n": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"n": float("nan")})
    assert json.loads(path.read_text()) == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_test_evaluations_accumulate_with_the_checkpoints_hash(metrics, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    append_test_evaluation(tmp_path, metrics)
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    append_test_evaluation(tmp_path, metrics)
    first, second = map(json.loads, (tmp_path / "test_evaluations.jsonl").read_text().splitlines())
    assert first["checkpoint_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert second["checkpoint_sha256"] == hashlib.sha256(b"other weights").hexdigest()
    assert (first["protocol"], first["dataset"], first["result"]) == ("paper", "tiny", metrics["overall"])
    assert datetime.fromisoformat(first["date"]).utcoffset().total_seconds() == 0


def test_every_shard_counts_in_the_checkpoints_hash(tmp_path):
    with pytest.raises(FileNotFoundError, match="safetensors"):
        checkpoint_sha256(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"two")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"one")
    assert checkpoint_sha256(tmp_path) == hashlib.sha256(b"onetwo").hexdigest()


def test_table_is_aligned_and_ends_with_the_protocols_note(metrics):
    title, header, *body, note = format_table(metrics).splitlines()
    assert title == "tiny, test: 5 questions, 1 not scored"
    assert {len(line) for line in (header, *body)} == {len(header)}
    assert note == f"Protocol paper: {metrics['protocol_note']}"
    cells = {line.split("  ")[0]: line.split()[-5:] for line in body}
    low, high = metrics["overall"]["ci95"]
    assert cells["overall"] == ["50.00", f"{low:.2f}", "-", f"{high:.2f}", "4"]
    assert {"closed (answer_type)", "open (yes/no answer)", "question type size", "baseline always_no"} <= set(cells)


def test_table_of_an_unscored_run_has_a_dash(metrics):
    lines = format_table({**metrics, "overall": None}).splitlines()
    assert lines[2].split() == ["overall", "-", "-", "0"]
