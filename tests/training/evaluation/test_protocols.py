import pytest
from datasets import Dataset, DatasetDict

from amif.training.data.references import acceptable_vqa_med_answers
from amif.training.evaluation.protocols import (
    candidate_answers,
    distinct_answers,
    knowledge_answers,
    known_splits,
    protocol_note,
)


@pytest.fixture
def splits():
    answers = {
        "train": ["yes", "No.", "no", None, "ct"],
        "validation": ["CT", "ct", "mri"],
        "test": ["liver", "Yes", "liver#hepar", None],
    }
    return DatasetDict({name: Dataset.from_dict({"answer": column}) for name, column in answers.items()})


def test_answers_are_ordered_by_frequency_then_alphabetically(splits):
    assert distinct_answers(splits["train"]) == ["no", "ct", "yes"]
    assert distinct_answers(splits["train"], splits["validation"]) == ["ct", "no", "mri", "yes"]


@pytest.mark.parametrize(
    ("eval_split", "expected"),
    [("validation", ["no", "ct", "yes"]), ("test", ["ct", "no", "mri", "yes"])],
)
def test_clean_candidates_and_knowledge_never_hold_the_evaluated_answers(splits, eval_split, expected):
    assert candidate_answers("clean", splits, eval_split) == expected
    assert knowledge_answers(splits, eval_split) == expected


def test_clean_works_without_a_validation_split_and_ignores_the_test_answers(splits):
    del splits["validation"]
    assert candidate_answers("clean", splits, "test") == ["no", "ct", "yes"]


def test_paper_candidates_are_the_evaluated_splits_answers(splits):
    assert candidate_answers("paper", splits, "test") == ["liver", "liver hepar", "yes"]
    of_vqa_med = candidate_answers("paper", splits, "test", acceptable_vqa_med_answers)
    assert of_vqa_med == ["liver", "hepar", "yes"]
    assert candidate_answers("paper", splits, "validation") == ["ct", "mri"]


def test_generate_has_no_candidates(splits):
    assert candidate_answers("generate", splits, "test") is None


def test_paper_refuses_a_split_without_answers(splits):
    splits["test"] = Dataset.from_dict({"answer": [None, None]})
    with pytest.raises(ValueError, match="answers of the test split, and these are not available"):
        candidate_answers("paper", splits, "test")
    assert candidate_answers("clean", splits, "test")


def test_clean_refuses_a_training_split_without_answers(splits):
    splits["train"] = Dataset.from_dict({"answer": [None]})
    with pytest.raises(ValueError, match="validation"):
        candidate_answers("clean", splits, "validation")


def test_known_splits_are_in_order_and_training_is_not_evaluated(splits):
    assert known_splits(splits, "test") == [splits["train"], splits["validation"]]
    with pytest.raises(ValueError, match="train"):
        known_splits(splits, "train")


def test_unknown_protocol_is_refused(splits):
    with pytest.raises(ValueError, match="clean, paper, choices, generate"):
        candidate_answers("oracle", splits, "test")
    with pytest.raises(ValueError, match="oracle"):
        protocol_note("oracle")


def test_the_papers_note_says_where_its_candidates_come_from():
    assert "answers of the evaluated split" in protocol_note("paper")
    assert len({protocol_note(protocol) for protocol in ("clean", "paper", "generate")}) == 3
