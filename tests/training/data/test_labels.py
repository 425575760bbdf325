import pytest
from datasets import Dataset, DatasetDict

from amif.training.data.labels import find_labels


def splits(*cells, **options):
    train = Dataset.from_dict({"label": list(cells)})
    return DatasetDict({"train": train, "test": Dataset.from_dict({"label": options.get("test", list(cells))})})


def test_one_label_a_row_and_none_of_it():
    found = splits("mass", None, "cyst", "mass", test=["cyst", "edema", None])
    column = find_labels(found, "label")
    assert column.names == ("cyst", "mass", "none")
    assert not column.several
    usable = column.usable(found["test"])
    assert usable["label"][:] == ["cyst", None], "what training does not have cannot be told"
    assert column.targets(usable).tolist() == [[True, False, False], [False, False, True]]


@pytest.mark.parametrize(
    ("cells", "separator"),
    [([["a", "b"], ["b"], [], ["c", "b"]], None), (["a; b", "b", None, "c;b;"], ";")],
)
def test_several_labels_a_row_as_a_list_or_in_a_text(cells, separator):
    found = splits(*cells)
    column = find_labels(found, "label", separator)
    assert column.names == ("a", "b", "c")
    assert column.several
    assert len(column.usable(found["test"])) == 4
    expected = [[True, True, False], [False, True, False], [False] * 3, [False, True, True]]
    assert column.targets(found["test"]).tolist() == expected
    assert find_labels(found, "label", separator, min_count=2).names == ("b",)
    assert find_labels(found, "label", separator, wanted=["c", "a"]).names == ("a", "c")


def test_missing_columns_and_nothing_to_tell_apart_are_said():
    with pytest.raises(ValueError, match=r"no column 'finding' of labels; there are label"):
        find_labels(splits("a", "b"), "finding")
    with pytest.raises(ValueError, match="leaves 1 labels to tell apart"):
        find_labels(splits("a", "a"), "label")
    with pytest.raises(ValueError, match="No training row has the label abcess; there are a, b"):
        find_labels(splits("a", "b"), "label", wanted=["a", "b", "abcess"])
