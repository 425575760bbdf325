import datasets
import pytest

from amif.training.data.question_types import of_question_types


@pytest.fixture
def rows():
    types = ["plane", "organ", None, "plane", "abnormality"]
    return datasets.Dataset.from_dict({"question_type": types, "question_id": list("abcde")})


def test_rows_of_the_types_stay_in_their_order(rows):
    assert of_question_types(rows, ["organ", "plane"])["question_id"] == ["a", "b", "d"]


def test_a_type_that_no_row_has_is_named_beside_those_there_are(rows):
    with pytest.raises(ValueError, match=r"is of type planes\. Types of this data set: abnormality, organ, plane"):
        of_question_types(rows, ["planes", "organ"])


def test_a_set_without_types_says_so():
    rows = datasets.Dataset.from_dict({"question_type": [None, None]})
    with pytest.raises(ValueError, match="Types of this data set: none"):
        of_question_types(rows, ["plane"])
