import pytest
import small_evaluations
from datasets import Dataset, DatasetDict

from amif.training.data.splits import split_fold
from amif.training.evaluation.baselines import (
    CROSS_FITTED,
    baseline_rows,
    most_frequent_by_question_type,
    question_and_kind,
    question_only,
    split_baselines,
)


def table(*rows, template=None):
    columns = ("question", "answer", "question_type")
    dataset = Dataset.from_dict(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
    return dataset if template is None else dataset.add_column("template", template)


TRAINING = table(
    ("Is the heart enlarged?", "Yes", "size"),
    ("is the heart enlarged", "yes.", "size"),
    ("Is the heart enlarged?", "no", "size"),
    ("Is the lung clear?", "no", "presence"),
    ("Is the liver normal?", "no", "presence"),
    ("What organ is this?", "Liver", "organ"),
    ("Which organ system?", "chest", "organ"),
    ("Where is it?", None, "position"),
)


def test_most_frequent_answer_of_the_question_type_with_alphabetical_ties():
    evaluation = table(
        ("How big?", None, "size"),
        ("Seen?", "yes", "presence"),
        ("Organ?", "liver", "organ"),  # chest and liver are equally frequent
        ("Where?", "left", "position"),  # its type has no answer in training
        ("Why?", "x", None),
    )
    assert most_frequent_by_question_type(TRAINING, evaluation) == ["yes", "no", "chest", "no", "no"]


def test_question_only_falls_back_step_by_step():
    evaluation = table(
        ("IS THE HEART ENLARGED", None, "organ"),  # the same question
        ("Is the spleen enlarged?", None, "size"),  # "is the": three no, two yes
        ("What organ?", None, "size"),  # "what organ"
        ("How big?", None, "size"),  # the question type
        ("How far?", None, "distance"),  # nothing but the most frequent answer
        ("?", None, "size"),
    )
    assert question_only(TRAINING, evaluation) == ["yes", "no", "liver", "yes", "no", "yes"]


def test_a_template_stands_for_the_question():
    training = table(
        ("Is A here?", "yes", "t"), ("Is A here?", "yes", "t"), ("B?", "no", "t"), template=["p", "p", "q"]
    )
    evaluation = table(("Is A here?", None, "t"), template=["q"])
    assert question_only(training, evaluation) == ["no"]


def of_kind(dataset, *kinds):
    for column, values in zip(("modality", "organ"), zip(*kinds, strict=True), strict=True):
        dataset = dataset.add_column(column, list(values))
    return dataset


def test_question_and_kind_falls_back_to_the_question_alone():
    questions = [("Is it large?", answer, None) for answer in ("yes", "no", "no", "no", "maybe")]
    kinds = [("CT", "liver"), ("CT", "lung"), ("CT", "lung"), ("MRI", None), (None, None)]
    training = of_kind(table(*questions), *kinds)
    asked = [("CT", "liver"), ("CT", "lung"), ("MRI", None), ("MRI", "liver"), (None, None)]
    evaluation = of_kind(table(*(("is it large", None, None) for _ in asked)), *asked)
    assert question_and_kind(training, evaluation) == ["yes", "no", "no", "no", "no"]
    assert question_and_kind(training.remove_columns(["modality", "organ"]), evaluation) == ["no"] * 5
    assert question_and_kind(training, evaluation.remove_columns("modality")) == ["no"] * 5


def test_question_and_kind_is_a_baseline_of_data_that_name_kinds(dataset):
    assert "question_and_kind" not in baseline_rows(dataset, dataset)
    unknown = dataset.add_column("organ", [None] * 5)
    assert "question_and_kind" not in baseline_rows(unknown, unknown)
    named = dataset.add_column("organ", ["heart", "liver", None, None, None])
    for training, evaluation in ((named, named), (named, unknown), (unknown, named)):
        rows = baseline_rows(training, evaluation)["question_and_kind"]
        assert [row.question_id for row in rows] == ["1", "2", "3", "4", "5"]


def test_evaluation_answers_are_not_used():
    evaluation = table(("Is the heart enlarged?", "no", "size"))
    assert question_only(TRAINING, evaluation) == ["yes"]
    assert most_frequent_by_question_type(TRAINING, evaluation) == ["yes"]


def test_training_without_answers_is_refused():
    with pytest.raises(ValueError, match="training answers"):
        question_only(table(("Where?", None, None)), TRAINING)


def test_baselines_are_scored_by_the_same_rule(dataset):
    training = small_evaluations.table(
        ("1", "z", "is it enlarged", "yes", None, "size"),
        ("2", "z", "Is it clear?", "no", None, "size"),
        ("3", "z", "Is it clear?", "no", None, "size"),
    )
    result = baseline_rows(training, dataset)
    assert {name: [row.correct for row in rows] for name, rows in result.items()} == {
        "most_frequent_by_question_type": [False, False, False, True, None],
        "question_only": [True, False, False, True, None],
        "always_no": [False, True],
    }


def test_a_split_alone_is_answered_from_its_other_images():
    # Questions about an image share its id as answer: what another image teaches is never right about this one.
    rows = [(str(row), f"i{row % 7}", f"Q{row % 3}?", f"a{row % 7}", None, None) for row in range(30)]
    dataset = small_evaluations.table(*rows, ("yes", "i1", "Is it?", "no", None, None))
    found, note = split_baselines(DatasetDict({"test": dataset}), "test")
    assert note == CROSS_FITTED
    assert [row.question_id for row in found["question_only"]] == dataset["question_id"][:]
    assert [row.correct for row in found["question_only"]] == [False] * 31
    assert [row.question_id for row in found["always_no"]] == ["yes"]
    training, held_out = split_fold(dataset, 2, seed=0)
    expected = baseline_rows(training, held_out)["question_only"]
    assert [row for row in found["question_only"] if row.image_id in {*held_out["image_id"]}] == expected
    alike = dataset.remove_columns("answer").add_column("answer", ["yes"] * 31)
    assert all(row.correct for row in split_baselines(DatasetDict({"train": alike}), "train")[0]["question_only"])


def test_other_splits_come_before_the_evaluated_one_and_nothing_is_learnt_from_nothing():
    dataset = small_evaluations.table(*((str(row), f"i{row}", "Q?", "b", None, None) for row in range(6)))
    other = small_evaluations.table(("t", "t", "Q?", "c", None, None))
    found, note = split_baselines(DatasetDict({"train": other, "test": dataset}), "test")
    assert ({row.prediction for row in found["question_only"]}, note) == ({"c"}, None)
    assert split_baselines(DatasetDict({"test": dataset.select(range(4))}), "test") == ({}, None), "four images"
    unknown = dataset.remove_columns("answer").add_column("answer", [None] * 6)
    assert split_baselines(DatasetDict({"test": unknown}), "test") == ({}, None)
    bare = DatasetDict({"train": unknown, "test": dataset})
    assert split_baselines(bare, "test")[1] == CROSS_FITTED, "training questions without answers teach nothing"
