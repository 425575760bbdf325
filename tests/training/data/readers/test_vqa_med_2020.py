import pytest
from small_sets import write_lines, write_vqa_med_2020

from amif.training.data.readers import vqa_med_2020
from amif.training.data.readers.vqa_med_2020 import load_vqa_med_2020

REFERENCES = "VQAMed2020-Task1-VQAnswering-Test-ReferenceAnswers.txt"


@pytest.fixture
def copy(tmp_path):
    write_vqa_med_2020(tmp_path, ["s1|what is abnormal?|a mass", "s2|is it normal?|no"], ["s3|is it normal?|yes"])
    test = tmp_path / vqa_med_2020.TEST[0]
    asked = ["s4|what is abnormal?", "s5|is it normal?"]
    write_lines(test / vqa_med_2020.TEST_QUESTIONS[0], asked, test / "Task1-2020-VQAnswering-Test-Images")
    return tmp_path


def test_layout_and_rows(copy):
    splits = load_vqa_med_2020(copy)
    assert {name: rows["answer"][:] for name, rows in splits.items()} == {
        "train": ["a mass", "no"],
        "validation": ["yes"],
        "test": [None, None],
    }
    first = splits["test"][0]
    assert (first["image_id"], first["question_id"], first["image"].size) == ("s4", "s4|what is abnormal?", (4, 4))


def test_answers_of_the_test_are_found_by_their_image(copy):
    (copy / vqa_med_2020.TEST[0] / REFERENCES).write_text("s5|no\ns4|acute appendicitis\n")
    assert load_vqa_med_2020(copy)["test"]["answer"][:] == ["acute appendicitis", "no"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("s5|no", r"Questions\.txt: row 0 .*the file of references has no line of s4"),
        ("s5|no\ns5|yes", r"ReferenceAnswers\.txt answers s5 twice"),
        ("\n", r"ReferenceAnswers\.txt is empty: give the organisers' file"),
    ],
)
def test_references_that_do_not_fit(copy, lines, message):
    (copy / vqa_med_2020.TEST[0] / REFERENCES).write_text(lines)
    with pytest.raises(ValueError, match=message):
        load_vqa_med_2020(copy)


def test_folders_that_stand_by_themselves(copy):
    for name in (vqa_med_2020.TRAINING, vqa_med_2020.VALIDATION):
        (copy / vqa_med_2020.AROUND / name).rename(copy / name)
    assert load_vqa_med_2020(copy).num_rows == {"train": 2, "validation": 1, "test": 2}


def test_strict_refuses_a_part_of_it(copy):
    with pytest.raises(ValueError, match=r"vqa_med_2020 train: 2 rows, published 4000.* test: 2 rows, published 500"):
        load_vqa_med_2020(copy, strict=True)
