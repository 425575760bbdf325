"""Random answers, files and damage: what is measured and kept is right, or an error of ours says why not."""

import csv
import io
import json
import math
import unicodedata
from collections import defaultdict

import pytest
from datasets import Dataset, Features, Value
from hypothesis import example, given
from hypothesis import strategies as st
from our_errors import examples, result_or_our_error

from amif.processing_amif import normalize_answer, normalize_report
from amif.processing_amif.answer_normalization_amif import plain_characters
from amif.training.evaluation.fingerprint import evaluation_fingerprint
from amif.training.evaluation.metrics import build_metrics
from amif.training.evaluation.partial_predictions import PartialPredictions
from amif.training.evaluation.prediction_files import match_predictions, read_predictions
from amif.training.evaluation.prediction_rows import prediction_rows, read_prediction_rows
from amif.training.evaluation.result_files import to_json, write_jsonl

often, seldom = examples(60), examples(20)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
UNSEEN = st.sampled_from(["\u200b", "\u200d", "\ufeff", "\u00ad", "\ufe0f", "\u034f", "\u202e", "\x00"])
PIECES = st.sampled_from([*"x ray s-/.,'\"35%?;:()#*~–é½²\u0301", "x-ray", "。", "、", "Ａ", "\u3000", "ﾊﾞ", "İ", "Σ"])
MIXED = st.lists(st.one_of(PIECES, UNSEEN, TEXT), max_size=12).map("".join)
WIDE = str.maketrans({letter: chr(ord(letter) + 0xFEE0) for letter in map(chr, range(0x21, 0x7F))} | {" ": "\u3000"})

# Ways to write one answer; whatever is of one list is the same, and nothing else is.
SPELLINGS = {
    "yes": ["yes", "Yes.", " YES!", "ＹＥＳ", "y\u200bes"],
    "no": ["no", "No", '"no"', "ｎｏ。"],
    "left lung": ["left lung", "Left  Lung", "left\u3000lung", "left lung\ufeff"],
    "xray": ["x-ray", "X ray", "xray", "x‑ray"],
    "sténose": ["sténose", "ste\u0301nose", "STÉNOSE"],
    "10": ["10", "１０", "10."],
    "10²": ["10²", "10² "],
    "1000": ["1,000", "1000", "１，０００"],
}


def same(first, second):
    return (first is None) is (second is None) and (first is None or math.isclose(first, second, abs_tol=1e-9))


@often
@given(MIXED, st.data())
@example("e'\u0301", None)
@example("2、300", None)
def test_normalisers_know_one_form_of_a_text(text, data):
    plain = plain_characters(text)
    assert plain_characters(plain) == plain
    assert normalize_report(normalize_report(text)) == normalize_report(text)
    answer = result_or_our_error(lambda: normalize_answer(text))
    alike = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")] + [text.translate(WIDE)]
    if data is not None:
        place = data.draw(st.integers(0, len(text)))
        alike.append(text[:place] + data.draw(UNSEEN) + text[place:])
    for other in alike:
        assert plain_characters(other) == plain, ascii(other)
        assert result_or_our_error(lambda other=other: normalize_answer(other)) == answer, ascii(other)
    if answer is not None:
        assert normalize_answer(answer) == answer


ANSWERS = st.sampled_from([(form, text) for form, texts in SPELLINGS.items() for text in texts])
ASKED = st.fixed_dictionaries(
    {
        "image_id": st.sampled_from("abc"),
        "answer": st.one_of(st.just((None, None)), ANSWERS, ANSWERS, ANSWERS),
        "answer_type": st.sampled_from(["open", "closed", None]),
        "question_type": st.sampled_from(["size", "plane", None]),
        "organ": st.sampled_from(["heart", "lung", None]),
        "prediction": st.one_of(st.just((None, None)), ANSWERS),
        "score": st.one_of(st.none(), st.floats(-20, 0)),
    }
)


def dataset_of(asked):
    names = ("question_id", "image_id", "question", "answer", "answer_type", "question_type", "organ")
    rows = [
        {**one, "question_id": f"q{place}", "question": "?", "answer": one["answer"][1]}
        for place, one in enumerate(asked)
    ]
    features = Features({name: Value("string") for name in names})
    return Dataset.from_dict({name: [row[name] for row in rows] for name in names}, features=features)


def naive_accuracy(asked):
    right = [one["prediction"][0] == one["answer"][0] for one in asked if one["answer"][0] is not None]
    return 100 * sum(right) / len(right) if right else None


def naive_groups(asked, name):
    """Accuracy of each group; those without a name are "unspecified" unless none has one."""
    groups = defaultdict(list)
    for one in asked:
        groups[name(one)].append(one)
    if None in groups and len(groups) > 1:
        groups["unspecified"] = groups.pop(None)
    accuracies = {group: naive_accuracy(of_group) for group, of_group in groups.items() if group is not None}
    return {group: accuracy for group, accuracy in accuracies.items() if accuracy is not None}


def naive_f1(one):
    if one["answer"][0] is None:
        return None
    said, right = (one["prediction"][0] or "").split(), one["answer"][0].split()
    common = sum(min(said.count(word), right.count(word)) for word in set(said))
    return 2 * common / (len(said) + len(right))


def naive_confidence(asked):
    """Calibration error, Brier score and area under the risk-coverage curve."""
    pairs = [
        (math.exp(one["score"]), one["prediction"][0] == one["answer"][0])
        for one in asked
        if one["score"] is not None and one["answer"][0] is not None
    ]
    error, risks, wrong = 0.0, [], 0.0
    for place in range(15):
        of_bin = [pair for pair in pairs if min(int(pair[0] * 15), 14) == place]
        error += abs(sum(right for _, right in of_bin) - sum(confidence for confidence, _ in of_bin)) / len(pairs)
    for k, (confidence, _) in enumerate(sorted(pairs, reverse=True), 1):
        ties = [right for other, right in pairs if other == confidence]
        wrong += 1 - sum(ties) / len(ties)
        risks.append(wrong / k)
    brier = sum((confidence - right) ** 2 for confidence, right in pairs) / len(pairs)
    return error, brier, sum(risks) / len(pairs)


@seldom
@given(st.lists(ASKED, min_size=1, max_size=8), st.sampled_from([".jsonl", ".json", ".csv"]))
def test_scores_are_the_naive_ones_from_the_file_on(tmp_path_factory, asked, suffix):
    folder, dataset = tmp_path_factory.getbasetemp(), dataset_of(asked)
    texts, scores = [one["prediction"][1] for one in asked], [one["score"] for one in asked]
    given_rows = [
        {"id": f"q{place}", "prediction": text, "score": score}
        for place, (text, score) in enumerate(zip(texts, scores, strict=True))
    ]
    path = folder / f"given{suffix}"
    write_table(path, given_rows[::-1])
    answers = match_predictions(dataset, read_predictions(path), path)
    assert answers == (texts, scores)

    rows = prediction_rows(dataset, *answers)
    metrics = result_or_our_error(
        lambda: build_metrics(
            rows,
            protocol="unstated",
            dataset_name="any",
            split="test",
            baselines={},
            fingerprint=evaluation_fingerprint(rows, protocol="unstated", seed=0, command=""),
            abstention_threshold=-1.0,
        )
    )
    assert same(metrics.scores.overall and metrics.scores.overall.value, naive_accuracy(asked))
    expected_groups = {
        "by_answer_type": {
            kind: accuracy
            for kind, accuracy in naive_groups(asked, lambda one: one["answer_type"]).items()
            if kind != "unspecified"
        },
        "by_question_type": naive_groups(asked, lambda one: one["question_type"]),
        "by_organ": naive_groups(asked, lambda one: one["organ"]),
        "by_yes_no": naive_groups(asked, lambda one: "closed" if one["answer"][0] in ("yes", "no") else "open"),
    }
    for name, expected in expected_groups.items():
        found = {group: interval.value for group, interval in getattr(metrics.scores, name).items()}
        assert found == pytest.approx(expected), name
    f1 = [value for value in map(naive_f1, asked) if value is not None]
    assert same(
        metrics.text_overlap.token_f1 and metrics.text_overlap.token_f1.value, 100 * sum(f1) / len(f1) if f1 else None
    )
    assert metrics.scores.withheld == texts.count(None)
    if metrics.confidence is not None:
        found = metrics.confidence
        measures = (found.expected_calibration_error, found.brier_score, found.risk_coverage_area)
        assert measures == pytest.approx(naive_confidence(asked))
    assert json.loads(to_json(metrics))["n"] == len(asked)
    write_jsonl(folder / "predictions.jsonl", rows)
    assert read_prediction_rows(folder / "predictions.jsonl") == rows


def write_table(path, rows):
    if path.suffix == ".csv":
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(table.getvalue(), encoding="utf-8", newline="")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


CELLS = st.one_of(
    st.sampled_from([None, "yes", "1", -0.5, 0, 3.0]),
    st.one_of(
        st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.lists(st.text(max_size=3), max_size=2)
    ),
)
COLUMNS = ["id", "question_id", "qid", "prediction", "score", "confidence", "other"]
ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"id": CELLS, "prediction": CELLS}, optional={"score": CELLS, "confidence": CELLS}),
        st.dictionaries(st.sampled_from(COLUMNS), CELLS),
        CELLS,
    ),
    max_size=4,
)


def spelled(value):
    """A number as data write it, and text as it is; None for None and NaN."""
    if value is None or value != value:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@often
@given(st.one_of(ROWS, CELLS, st.dictionaries(TEXT, CELLS, max_size=3)), st.sampled_from([".json", ".jsonl"]))
def test_files_of_any_rows_are_read_as_they_say_or_refused(tmp_path_factory, rows, suffix):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        rows = rows if isinstance(rows, list) else [rows]
        write_table(path, rows)
    read = result_or_our_error(lambda: read_predictions(path))
    if read is None:
        return
    if isinstance(rows, dict):
        rows = [{"id": id_, "prediction": prediction} for id_, prediction in rows.items()]
    assert len(read) == len(rows) > 0
    for row, (id_, (answer, score)) in zip(rows, read.items(), strict=True):
        ids = [spelled(row.get(name)) for name in ("question_id", "id", "qid")]
        assert id_ == next(one for one in ids if one is not None and plain_characters(one).strip())
        assert answer == spelled(row["prediction"])
        assert score is None or (math.isfinite(score) and score <= 1e-3)


@often
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_csv_of_any_text_is_read_as_it_was_written_or_refused(tmp_path_factory, cells):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    write_table(path, [{"id": id_, "prediction": text} for id_, text in cells])
    read = result_or_our_error(lambda: read_predictions(path))
    if read is not None:
        assert {id_: answer.answer or "" for id_, answer in read.items()} == {
            id_: text for id_, text in cells if id_.strip() or text.strip()
        }


@often
@given(st.binary(max_size=120), st.sampled_from([".csv", ".json", ".jsonl"]))
@example(b"id,prediction\n1,\xff", ".csv")
@example(b"\xef\xbb\xbf{}", ".json")
def test_files_of_any_bytes(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"bytes{suffix}"
    path.write_bytes(content)
    result_or_our_error(lambda: read_predictions(path))
    result_or_our_error(lambda: read_prediction_rows(path))


SCORED = st.tuples(st.one_of(st.none(), TEXT), st.one_of(st.none(), st.floats(-1e300, 0)))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.lists(st.integers(0, 9), max_size=4)),
        st.tuples(st.just("tidy")),
        st.tuples(st.just("flip"), st.integers(0), st.integers(0, 255)),
        st.tuples(st.just("cut"), st.integers(0)),
        st.tuples(st.just("drop"), st.integers(0), st.integers(1, 60)),
        st.tuples(st.just("insert"), st.integers(0), st.binary(min_size=1, max_size=6)),
    ),
    max_size=10,
)


def damage(content, kind, place, what=0):
    """The bytes of a file after an accident."""
    place %= len(content) + 1
    if kind == "flip":
        return content[:place] + bytes([what]) + content[place + 1 :]
    if kind == "cut":
        return content[:place]
    if kind == "drop":
        return content[:place] + content[place + what :]
    return content[:place] + what + content[place:]


@often
@given(STEPS, st.lists(SCORED, min_size=10, max_size=10))
def test_answers_outlive_any_accident_but_to_their_own_line(tmp_path_factory, steps, answers):
    folder = tmp_path_factory.mktemp("partial")
    written = {}  # rows by the very bytes of their lines

    def lines():
        return {line for path in folder.iterdir() for line in path.read_bytes().split(b"\n") if line}

    for kind, *rest in steps:
        files = sorted(folder.iterdir())
        if kind == "append":
            process, rows = rest
            for row in rows:
                before = lines()
                PartialPredictions(folder, "print", process).append([row], [f"q{row}"], [answers[row]])
                written |= dict.fromkeys(lines() - before, row)
        elif kind == "tidy":
            kept = PartialPredictions(folder, "print").read()
            PartialPredictions(folder, "print").tidy()
            assert PartialPredictions(folder, "print").read() == kept
            assert len(list(folder.iterdir())) == bool(kept)
        elif files:
            file = files[rest[0] % len(files)]
            file.write_bytes(damage(file.read_bytes(), kind, *rest))
        read = result_or_our_error(lambda: PartialPredictions(folder, "print").read())
        assert all(read[row] == answers[row] for row in read)
        assert read.keys() >= {written[line] for line in lines() if line in written}
