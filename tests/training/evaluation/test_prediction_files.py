import json
import math

import pytest
from small_evaluations import table

from amif.training.evaluation import prediction_files
from amif.training.evaluation.prediction_files import match_predictions, read_judge_scores, read_predictions
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


HEADER = "id,prediction,score,confidence"
CSV = {
    "": "is empty: give a header",
    "\ufeff": "is empty: give a header",
    "\n\n": "is empty: give a header",
    "id,prediction\n": r"holds a header \(id, prediction\) and no rows",
    "id,answer\n1,yes\n": "row 0 .*columns 'id', 'answer', and needs one of .*'prediction'",
    "id, prediction\n1,yes\n": "columns 'id', ' prediction', and needs",
    "id,prediction\n1,yes\n,no\n": "row 1 .*question_id, id, qid that is not empty",
    "id,prediction\n1,yes\n2,no\n1,no\n2,no\n": "2 ids come more than once: 1, 2",
    "id,prediction,prediction\n1,yes,no\n": "its header repeats 'prediction'",
    "id,prediction\n1,left lung, upper lobe\n": "line 2 has 3 cells and the header 2: .*quote texts",
    "id,prediction\n1,yes\n2\n": "line 3 has 1 cells and the header 2: write an empty cell",
    'id,prediction\n1,"yes\n2,no\n': "a quote is opened and never closed",
    "id,prediction\n1," + "a " * 100_000: "longer than 131,072 characters",
    "id,prediction\n1,y\0es\n": "line 2 holds a zero byte",
    f"{HEADER}\n1,yes,3.5,\n": r"row 0 .*id 1: score 3\.5 is no log-likelihood",
    f"{HEADER}\n1,yes,nan,\n": "row 0 .*id 1: score nan is no log-likelihood",
    f"{HEADER}\n1,yes,inf,\n": "row 0 .*id 1: score inf is no log-likelihood",
    f"{HEADER}\n1,yes,high,\n": "row 0 .*id 1: score 'high' is no number: give one, or leave it out",
    f"{HEADER}\n1,yes,,97\n": r"row 0 .*confidence 97\.0 must lie between 0 and 1",
    f"{HEADER}\n1,yes,,nan\n": "row 0 .*confidence nan must lie between 0 and 1",
}
DEEP = "[" * 100_000
JSON = {
    "": r"cannot be read as JSON .*: give a complete file, in UTF-8\.",
    "[{]": r"cannot be read as JSON .*: give a complete file, in UTF-8\.",
    "null": "holds None: give a list of objects",
    "5": "holds 5: give a list of objects",
    '"yes"': "holds 'yes': give a list of objects",
    "[]": "holds no predictions",
    "{}": "holds no predictions",
    "[1, 2]": "row 0 .*is 1, not an object",
    "[[1, 2]]": r"row 0 .*is \[1, 2\], not an object",
    '{"1": ["yes", "no"]}': r"row 0 .*id 1: it predicts \['yes', 'no'\]",
    '{"1": []}': r"row 0 .*id 1: it predicts \[\]",
    '{"1": [["yes"]]}': r"row 0 .*id 1: it predicts \['yes'\]",
    '[{"id": 1, "text": "yes", "output": "no"}]': "any of 'text', 'output' may hold the answers: call .* 'prediction'",
    '[{"id": 1, "response": "yes"}, {"id": 2}]': "row 1 .*and needs one of .*'response'",
    '{"1": true}': "row 0 .*id 1: it predicts True",
    '{"1": Infinity}': "row 0 .*id 1: inf is neither text nor a number",
    '{"1": "\\ud800"}': "row 0 .*id 1: .*half a letter",
    '{"1": "yes", "1": "no"}': r"an object repeats '1'\): keep one of each name\.",
    '[{"id": 1, "prediction": "yes", "prediction": "no"}]': "an object repeats 'prediction'",
    '[{"id": [1], "prediction": "yes"}]': r"row 0 .*: \[1\] is neither text nor a number",
    '[{"id": true, "prediction": "yes"}]': "row 0 .*: True is neither text nor a number",
    '[{"id": 1, "prediction": "yes", "score": [1]}]': r"row 0 .*id 1: score \[1\] is no number",
    '[{"id": 1, "prediction": "yes", "score": false}]': "row 0 .*id 1: score False is no number",
    '[{"id": 1, "prediction": "yes", "confidence": {"a": 1}}]': "row 0 .*id 1: confidence {'a': 1} is no number",
    f'[{{"id": 1, "prediction": "yes", "score": -1{"0" * 400}}}]': "row 0 .*id 1: score .* is no number",
    f'[{{"id": 1, "prediction": "{"yes" * 999}", "score": "{"a" * 999}"}}]': r"score 'a*\.\.\.a*' is no number",
    f'{{"1": {"9" * 5000}}}': r"a number of thousands of digits\): write it as text\.",
    DEEP: r"lists within lists, too deep\): write rows of texts and numbers\.",
}
JSON_LINES = {
    "": "holds no predictions",
    "5\n": "row 0 .*is 5, not an object",
    '[{"id": 1, "prediction": "yes"}]': "row 0 .*not an object with id and prediction",
    '{"id": 1, "prediction": "yes"}\n{"id": 2, "predic': r"line 2 .*JSON .*: write one whole row a line\.",
    '{"id": 1, "prediction": "yes", "prediction": "no"}': r"line 1 .*repeats 'prediction'\): keep one of each name\.",
    DEEP: r"line 1 .*too deep\): write rows of texts and numbers\.",
}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param(name, content, message, id=f"{name} {place}")
        for name, contents in {"p.csv": CSV, "P.CSV": CSV, "p.json": JSON, "p.JSONL": JSON_LINES}.items()
        for place, (content, message) in enumerate(contents.items())
    ],
)
def test_a_bad_file_is_named_with_its_row_and_the_cure(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as error:
        read_predictions(write(tmp_path / name, content))
    assert str(error.value).startswith(str(tmp_path / name))
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_separate(tmp_path, separator):
    lines = [["id", "prediction"], ["1", "left lung"], ["2", "no"]]
    path = write(tmp_path / "p.csv", "".join(separator.join(line) + "\n" for line in lines))
    assert read_predictions(path) == {"1": ScoredAnswer("left lung", None), "2": ScoredAnswer("no", None)}


@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.jsonl"])
def test_a_file_that_is_no_text_is_named_and_not_shown(tmp_path, name):
    path = tmp_path / name
    for content, message in {
        b"\xff\xfei\0d\0": "text in UTF-16 .*save it as UTF-8",
        "id,prediction\n1,yes".encode("utf-16"): "text in UTF-16 .*save it as UTF-8",
        b"id,prediction\n1,st\xe9nose\n": "line 2 is no UTF-8 .*save the file as UTF-8",
        b"PK\x03\x04\0\0": "zero byte",
    }.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as error:
            read_predictions(path)
        assert str(path) in str(error.value)
        assert str(error.value).isprintable()


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="is a folder: give the file"):
        read_predictions(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.csv: give one"):
        read_predictions(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"none of \.json"):
        read_predictions(write(tmp_path / "p.txt", "1 yes"))


def test_empty_cells_that_spreadsheets_write_part_nothing(tmp_path):
    content = "id,prediction,,\n1,yes,,\n,,,\n2,,,\n"
    assert read_predictions(write(tmp_path / "P.CSV", content)) == {
        "1": ScoredAnswer("yes", None),
        "2": ScoredAnswer(None, None),
    }


def test_columns_that_are_not_read_are_named(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(prediction_files.logger, "warning", told.append)
    read_predictions(write(tmp_path / "ours.jsonl", jsonl(OUR_ROWS)))
    assert not told
    path = write(tmp_path / "p.csv", "id,prediction,confidance\n1,yes,0.5\n")
    read_predictions(path)
    assert told == [f"{path}: not read: the columns 'confidance'."]


@pytest.mark.parametrize("column", ["text", "response", "output"])
def test_answers_under_the_names_that_circulate_are_read_and_said(tmp_path, monkeypatch, column):
    told = []
    monkeypatch.setattr(prediction_files.logger, "info", told.append)
    path = write(tmp_path / "p.jsonl", jsonl([{"question_id": 1, column: ["yes"]}, {"question_id": 2, column: "no"}]))
    assert read_predictions(path) == {"1": ScoredAnswer("yes", None), "2": ScoredAnswer("no", None)}
    assert told == [f"{path}: the answers are those of the column {column!r}."]
    both = write(tmp_path / "q.csv", f"id,{column},prediction\n1,a,yes\n")
    assert read_predictions(both)["1"].answer == "yes", "prediction counts where it is there"
    empty = write(tmp_path / "r.csv", f"id,{column}\n1,\n")
    assert read_predictions(empty)["1"].answer is None


def test_a_judges_scores_lie_between_0_and_1_in_every_row(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(prediction_files.logger, "warning", told.append)
    path = write(tmp_path / "p.csv", "id,prediction,gpt\n1,a,0.5\n2,b,1\n3,,0\n")
    assert read_judge_scores(path, "gpt") == {"1": 0.5, "2": 1.0, "3": 0.0}
    read_predictions(path, "gpt")
    assert not told, "the judge's column is read"
    for name in ("score", "confidence"):
        write(path, f"id,prediction,{name}\n1,a,0.5\n")
        assert read_predictions(path, name)["1"] == ("a", None), "the judge's confidence is not the system's"
    write(path, "id,prediction,gpt\n1,a,0.5\n2,b,1\n3,,0\n")
    for cell, shown in {"": "None", "1.01": "'1.01'", "-0.1": "'-0.1'", "nan": "'nan'", "good": "'good'"}.items():
        write(path, f"id,prediction,gpt\n1,a,0.5\n2,b,{cell}\n3,c,7\n")
        with pytest.raises(ValueError, match=f"row 1 .*id 2: gpt is {shown}, not from 0 to 1; likewise 1 more"):
            read_judge_scores(path, "gpt")
    with pytest.raises(ValueError, match=r"row 0 .*id 1: judge is None, not from 0 to 1"):
        read_judge_scores(path, "judge")


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
