"""Choices as tables write them, and answers among them."""

import pytest
from datasets import Dataset
from PIL import Image
from written_tables import write

from amif.training.data.readers.choices import ChoiceReader, choice_columns
from amif.training.data.readers.own_data import load_own_data, load_questions
from amif.training.data.readers.streamed_questions import load_streamed_questions

OPTIONS = ("Choice A", "Choice B", "Choice C")


def read(cells, answer=None):
    """What `ChoiceReader` makes of all choices in a cell, or, of a tuple, of one column a choice."""
    reader = ChoiceReader(OPTIONS if isinstance(cells, tuple) else ("options",))
    row = dict(zip(OPTIONS, cells, strict=True)) if isinstance(cells, tuple) else {"options": cells}
    return *reader.read(row, answer), (reader.labelled, reader.named)


@pytest.mark.parametrize(
    ("present", "found"),
    [
        (["q", "choices", "a", "b"], ("choices",)),
        (["B", "A", "C", "image"], ("A", "B", "C")),
        (["option_a", "option_b", "A"], ("option_a", "option_b")),
        (["Figure_path", "Choice A", "Choice B", "Answer"], ("Choice A", "Choice B")),
        (["optionA", "OptionB", "optionD"], ("optionA", "OptionB")),
        (["a", "b", "A", "question"], ()),
        (["options", "option_a"], ("options",)),
    ],
)
def test_columns_of_choices_are_known_by_their_names(present, found):
    assert choice_columns(present) == found


def test_choices_that_stand_twice_are_refused():
    with pytest.raises(ValueError, match="'choices' and in 'A', 'B': rename"):
        choice_columns(["choices", "A", "B"])
    assert choice_columns(["choices", "A", "B"], taken=["A"]) == ("choices",)
    with pytest.raises(ValueError, match="'choices' and in 'options': rename"):
        choice_columns(["options", "choices"])


def test_an_answer_is_a_choice_or_its_letter():
    assert read(["lung", "Liver."], "liver") == (["lung", "Liver."], "liver", (0, 0))
    assert read(["lung", "liver"], "(B)") == (["lung", "liver"], "liver", (0, 1))
    assert read(["lung", "liver"], ["b", "lung"]) == (["lung", "liver"], ["liver", "lung"], (0, 1))
    assert read(["b", "a"], "A") == (["b", "a"], "A", (0, 0))  # vitamins: the text comes before the letter
    assert read(["B. subtilis", "E. coli"], "B. subtilis") == (["B. subtilis", "E. coli"], "B. subtilis", (0, 0))


def test_letters_before_choices_are_taken_off_where_all_have_their_own():
    assert read((" A:CT scan", "B: MRI ", "C:X-ray"), "B: MRI") == (["CT scan", "MRI", "X-ray"], "MRI", (1, 1))
    assert read(("A) 1", "(B) 2", None), "2") == (["1", "2"], "2", (1, 0))
    assert read(["B: lung", "A: liver"], "A") == (["lung", "liver"], "liver", (1, 1))
    assert read(("A: 1", "2", "3"), "2")[0] == ["A: 1", "2", "3"]
    assert read(("lung", None, "liver"), "C") == (["lung", "liver"], "liver", (0, 1))


def test_choices_in_a_dictionary_have_its_letters():
    for cell in ({"B": "liver", "A": "lung", "C": None}, '{"A": "lung", "B": "liver"}', "{'b': 'liver', 'a': 'lung'}"):
        assert read(cell, "B") == (["lung", "liver"], "liver", (0, 1))
    assert read({"A": "lung", "C": "liver"}, "C")[:2] == (["lung", "liver"], "liver")
    assert read({}, "lung")[:2] == read(None, "lung")[:2] == (None, "lung")


@pytest.mark.parametrize(
    ("cells", "answer", "said"),
    [
        (["yes", "no"], "maybe", "'maybe' is none of the choices"),
        (["yes", "no"], "C", "'C' is none"),
        (["yes", "no"], "B: yes", "'B: yes' is none"),
        (["yes", "no"], ["no", "maybe"], "'maybe' is none"),
        (["yes", "Yes."], "yes", "two that differ"),
        (["yes", "--!"], "yes", None),
        (["yes", "!"], "yes", "'!' holds no word"),
        (["yes", ["no"]], "yes", "neither text nor a number"),
        ({"A": "yes", "1": "no"}, "yes", "the letters A, B, C .* ignore_columns"),
        ({"A": "yes", "a": "no"}, "yes", "the letters A, B, C"),
        ({"A": {"en": "yes"}, "B": "no"}, "yes", "neither text nor a number"),
        ("{'yes', 'no'}", "yes", "give a list, a dictionary"),
        ("yes or no", "yes", "'yes or no': give a list, a dictionary"),
        ("{yes, no}", "yes", "give a list, a dictionary"),
    ],
)
def test_choices_that_cannot_be_ranked_are_bad(cells, answer, said):
    if said is None:
        assert read(cells, answer)[0] == cells
        return
    with pytest.raises(ValueError, match=said):
        read(cells, answer)


ROWS = [
    {"image": "a.png", "question": "What?", "answer": "B", "choices": ["lung", "liver"]},
    {"image": "a.png", "question": "Is it?", "answer": "yes", "choices": None},
    {"image": "a.png", "question": "Where?", "answer": "3", "choices": ["1", "2", "3"]},
]


@pytest.fixture
def folder(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_own_data_and_questions_bring_their_choices(folder, suffix, caplog):
    path = folder / f"train{suffix}"
    if suffix == ".parquet":
        Dataset.from_list(ROWS).to_parquet(path)
    else:
        write(path, ROWS)
    found = load_own_data(path)["train"]
    assert found["choices"][:] == [["lung", "liver"], None, ["1", "2", "3"]]
    assert found["answer"][:] == ["liver", "yes", "3"]
    assert "1 answers were the letter of a choice" in caplog.text
    questions = load_questions(path)
    assert questions["choices"][:] == found["choices"][:]
    assert set(questions["answer"]) == {None}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_column_of_options_is_one_of_choices(folder, suffix, caplog):
    options = [None if row["choices"] is None else dict(zip("ABC", row["choices"], strict=False)) for row in ROWS]
    rows = [{**row, "options": own} for row, own in zip(ROWS, options, strict=True)]
    rows = [{name: value for name, value in row.items() if name != "choices"} for row in rows]
    path = folder / f"train{suffix}"
    if suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(path)
    else:
        write(path, rows)
    found = load_own_data(path)["train"]
    assert found["choices"][:] == [["lung", "liver"], None, ["1", "2", "3"]]
    assert found["answer"][:] == ["liver", "yes", "3"]
    assert "choices are read from options." in caplog.text
    assert "columns that are not used" not in caplog.text


def test_a_table_of_options_is_read_and_its_bad_rows_named(folder, caplog):
    options = [["CT", "MRI", "X-ray", ""], ["left", "right", "", ""], ["CT", "MRI", "", ""]]
    answers = ["D", "A", "MRI"]
    rows = [
        {"image": "a.png", "question": f"{place}?", "answer": answer} | dict(zip("ABCD", cells, strict=True))
        for place, (answer, cells) in enumerate(zip(answers, options, strict=True))
    ]
    path = write(folder / "train.csv", rows)
    with pytest.raises(ValueError, match=r"row 0 .*'D' is none of the choices"):
        load_own_data(path)
    found = load_own_data(path, on_bad_row="skip")["train"]
    assert found["choices"][:] == [["left", "right"], ["CT", "MRI"]]
    assert found["answer"][:] == ["left", "MRI"]
    assert "columns that are not used" not in caplog.text
    assert "A, B, C, D" in caplog.text


def test_files_without_choices_stand_beside_files_with_them(folder):
    write(folder / "train_1.jsonl", ROWS)
    write(folder / "train_2.jsonl", [{name: row[name] for name in ("image", "question", "answer")} for row in ROWS])
    found = load_own_data(folder)["train"]
    assert found["choices"][:] == [["lung", "liver"], None, ["1", "2", "3"], None, None, None]


def test_streams_bring_their_choices(folder, caplog):
    for split in ("train", "test"):
        rows = [row | {"image": {"bytes": (folder / "a.png").read_bytes(), "path": None}} for row in ROWS]
        Dataset.from_list(rows).to_parquet(folder / f"{split}.parquet")
    training, splits = load_streamed_questions(folder)
    assert [(row["answer"], row["choices"]) for row in training] == [
        ("liver", ["lung", "liver"]),
        ("yes", None),
        ("3", ["1", "2", "3"]),
    ]
    assert splits["train"]["answer"][:] == splits["test"]["answer"][:] == ["liver", "yes", "3"]
    assert splits["test"]["choices"][2] == ["1", "2", "3"]
    assert "1 answers were the letter" in caplog.text
