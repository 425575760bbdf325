import json
import math

import pytest
from small_evaluations import table

from amif.training.evaluation.prediction_files import match_predictions, read_predictions
from amif.training.evaluation.prediction_rows import ScoredAnswer

ROWS = [
    {"id": 1, "prediction": "yes"},
    {"id": "b,2", "prediction": 'left "upper" lobe'},
    {"id": "3", "prediction": "4"},
]
OUR_ROWS = [{"question_id": row["id"], "prediction": row["prediction"], "answer": "x"} for row in ROWS]
EXPECTED = {
    "1": ScoredAnswer("yes", None),
    "b,2": ScoredAnswer('left "upper" lobe', None),
    "3": ScoredAnswer("4", None),
}
DATASET = table(*((id_, "a", "?", "yes", None, None) for id_ in ("3", "1", "b,2")))


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.json", json.dumps(ROWS)),
        ("mapping.json", json.dumps({"1": "yes", "b,2": 'left "upper" lobe', "3": 4})),
        ("rows.jsonl", jsonl(ROWS) + "\n"),
        (
            "ours.jsonl",
            jsonl(OUR_ROWS),
        ),
        ("rows.csv", 'id,prediction\n1,yes\n"b,2","left ""upper"" lobe"\n3,4\n'),
        ("excel.csv", '\ufeffqid,prediction\r\n1,yes\r\n"b,2","left ""upper"" lobe"\r\n3,4\r\n'),
    ],
)
def test_every_format_gives_the_same(tmp_path, name, content):
    assert read_predictions(write(tmp_path / name, content)) == EXPECTED


def test_numbers_are_spelled_as_the_data_spell_answers(tmp_path):
    content = '[{"id": 1, "prediction": 3.0}, {"id": 2, "prediction": 2.5}, {"id": 3, "prediction": NaN}]'
    read = read_predictions(write(tmp_path / "rows.json", content))
    assert [read[id_].answer for id_ in "123"] == ["3", "2.5", None]


def test_answers_come_in_the_order_of_the_questions():
    answers, scores = match_predictions(DATASET, EXPECTED, "p.csv")
    assert answers == ["4", "yes", 'left "upper" lobe']
    assert scores == [None, None, None]


def test_scores_and_confidences_are_log_likelihoods(tmp_path):
    path = write(tmp_path / "p.csv", "id,prediction,score,confidence\n1,a,-0.5,\n2,b,,0.25\n3,c,,0\n4,,,\n5,e,-inf,\n")
    scores = [prediction.score for prediction in read_predictions(path).values()]
    assert scores[:2] == [-0.5, math.log(0.25)]
    assert all(math.isfinite(score) and score < -700 for score in (scores[2], scores[4]))
    assert read_predictions(path)["4"] == ScoredAnswer(None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,prediction\n", "holds no predictions"),
        ("id,answer\n1,yes\n", "row 0 .*columns id, answer.*'prediction'"),
        ("id,prediction\n1,yes\n,no\n", "row 1 .*question_id, id, qid"),
        ("id,prediction\n1,yes\n2,no\n1,no\n2,no\n", "2 ids come more than once: 1, 2"),
        ("id,prediction,score\n1,yes,3.5\n", r"row 0 .*score 3\.5 is no log-likelihood"),
        ("id,prediction,confidence\n1,yes,97\n", r"row 0 .*confidence 97\.0 must lie between 0 and 1"),
        ("id,prediction,score\n1,yes,high\n", "row 0 .*high"),
        ("id,prediction\n1,left lung, upper lobe\n", "row 0 .*commas into quotes"),
        ("id,prediction\n1,yes\n2\n", "row 1 .*not as many cells"),
    ],
)
def test_a_bad_row_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        read_predictions(write(tmp_path / "p.csv", content))
    assert "p.csv" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "[1, 2]", "row 0 .*is 1, not an object"),
        ("p.json", '{"1": ["yes"]}', r"row 0 .*predicts \['yes'\]"),
        ("p.json", '{"1": "yes", "1": "no"}', "1 names come more than once.*: 1"),
        ("p.json", "[{]", "cannot be read as json"),
        ("p.txt", "1 yes", r"none of \.json"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as error:
        read_predictions(write(tmp_path / name, content))
    assert name in str(error.value)


def test_separators_of_lines_within_an_answer_part_nothing(tmp_path):
    rows = [{"id": "1", "prediction": "left\u2028lung"}, {"id": "2", "prediction": "no"}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert read_predictions(write(tmp_path / "p.jsonl", text))["1"].answer == "left\u2028lung"
    assert read_predictions(write(tmp_path / "p.csv", 'id,prediction\n1,"left\nlung"\n'))["1"].answer == "left\nlung"


def test_missing_unknown_and_foreign_ids_are_listed_in_one_message():
    train = table(("t1", "a", "?", "yes", None, None))
    given = {id_: ScoredAnswer("yes", None) for id_ in ("3", "t1", "zzz")}
    with pytest.raises(ValueError, match=r"p\.csv does not fit the 3 questions") as error:
        match_predictions(DATASET, given, "p.csv", {"train": train})
    message = str(error.value)
    assert "1 predictions are for questions of the split train: t1." in message
    assert "1 ids are not in the data: zzz." in message
    assert "2 of 3 questions have no prediction: 1, b,2." in message


def test_ids_that_the_data_have_twice_cannot_be_named():
    twice = table(*((id_, "a", "?", "yes", None, None) for id_ in ("1", "1")))
    with pytest.raises(ValueError, match=r"1 question ids more than once.*: 1"):
        match_predictions(twice, {"1": ScoredAnswer("yes", None)}, "p.csv")


def test_long_lists_are_cut_but_counted():
    many = table(*((str(row), "a", "?", "yes", None, None) for row in range(500)))
    with pytest.raises(ValueError, match=r"499 of 500 questions have no prediction: .* and 479 more"):
        match_predictions(many, {"7": ScoredAnswer("yes", None)}, "p.csv")
