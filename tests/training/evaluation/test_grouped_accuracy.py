import json

import numpy as np
from small_evaluations import prediction, table

from amif.training.evaluation.baselines import baseline_rows
from amif.training.evaluation.fingerprint import evaluation_fingerprint
from amif.training.evaluation.grouped_accuracy import accuracy_with_interval, score_rows
from amif.training.evaluation.prediction_rows import prediction_rows
from amif.training.evaluation.results import Interval


def test_groups_follow_both_definitions_of_closed(rows):
    scores = score_rows(rows)
    assert (scores.n, scores.unscored, scores.overall.n) == (5, 1, 4)
    assert scores.overall.value == 50.0
    summary = {
        name: {group: (round(result.value, 2), result.n) for group, result in getattr(scores, name).items()}
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
    assert scores.by_answer_type == scores.by_question_type == {}
    assert list(scores.by_yes_no) == ["closed"]


def test_the_paper_counts_of_vqa_rad_give_its_percentages():
    """219 of 251 yes/no and 144 of 200 other questions are the one solution of the paper's 87.25, 72.00, 80.49."""
    references = ["yes"] * 251 + ["left lung"] * 200
    predictions = ["yes"] * 219 + ["no"] * 32 + ["left lung"] * 144 + ["heart"] * 56
    dataset = table(*((str(i), str(i % 203), "q", answer, None, None) for i, answer in enumerate(references)))
    scores = score_rows(prediction_rows(dataset, predictions))
    values = [scores.by_yes_no["closed"], scores.by_yes_no["open"], scores.overall]
    assert [(round(value.value, 2), value.n) for value in values] == [(87.25, 251), (72.0, 200), (80.49, 451)]
    assert all(value.low < value.value < value.high for value in values)


def test_the_interval_draws_images_not_questions():
    together = [prediction(correct=index < 50, image_id=str(index // 10)) for index in range(100)]
    apart = [prediction(correct=index < 50, image_id=str(index)) for index in range(100)]
    widths = [np.diff(accuracy_with_interval(rows).ci95) for rows in (together, apart)]
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
    assert {group: result.n for group, result in scores.by_answer_type.items()} == {"closed": 416, "open": 645}
    assert {group: result.n for group, result in scores.by_yes_no.items()} == {"closed": 355, "open": 706}
    assert scores.overall == Interval(100.0, 100.0, 100.0, 1061)
    assert sum(result.n for result in scores.by_question_type.values()) == 1061
    fingerprint = evaluation_fingerprint(rows, protocol="clean", seed=0, command="")
    assert fingerprint.answer_type_counts == {"closed": 416, "open": 645}
    assert fingerprint.yes_no_counts == {"closed": 355, "open": 706}


def test_without_references_nothing_is_scored_and_the_log_says_so(dataset, caplog):
    unanswered = dataset.remove_columns("answer").add_column("answer", [None] * 5)
    with caplog.at_level("WARNING"):
        scores = score_rows(prediction_rows(unanswered, ["yes"] * 5))
    assert scores.overall is None
    assert (scores.n, scores.unscored) == (5, 5)
    assert scores.by_answer_type == scores.by_yes_no == scores.by_question_type == {}
    assert "None of the 5 questions" in caplog.text
    assert {row.correct for row in baseline_rows(dataset, unanswered)["question_only"]} == {None}
