import pytest
from small_sets import write_lines, write_vqa_med_2020

from amif.training.data.readers import vqa_med_2021
from amif.training.data.readers.vqa_med_2021 import load_vqa_med_2021
from amif.training.data.references import acceptable_answers_of


@pytest.fixture
def copy(tmp_path):
    write_vqa_med_2020(tmp_path, ["s1|what is abnormal?|a mass"], ["s3|is it normal?|yes"])
    validation, test = tmp_path / vqa_med_2021.VALIDATION, tmp_path / vqa_med_2021.TEST
    name = "VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt"
    write_lines(validation / name, ["s6|why?|gout"], validation / "ImageCLEF-2021-VQA-Med-New-Validation-Images")
    asked = ["s7|what is it?", "s8|what is it?"]
    write_lines(test / "Task1-VQA-2021-TestSet-Questions.txt", asked, test / "images" / "VQA-500-Images")
    (test / "Task1-VQA-2021-TestSet-ReferenceAnswers.txt").write_text("s7|Mass | nodule\ns8|cyst\n")
    return tmp_path


def test_training_is_all_of_the_year_before(copy):
    splits = load_vqa_med_2021(copy)
    assert {name: rows["answer"][:] for name, rows in splits.items()} == {
        "train": ["a mass", "yes"],
        "validation": ["gout"],
        "test": ["Mass | nodule", "cyst"],
    }
    assert splits["test"][1]["image"].getpixel((0, 0)) == 1


def test_any_of_several_answers_is_right_in_this_set_alone():
    assert acceptable_answers_of("vqa_med_2021")("Mass | nodule (small)|") == ["mass", "nodule small"]
    assert acceptable_answers_of("vqa_med_2021")(None) == []
    assert acceptable_answers_of("own.csv")("Mass | nodule") == ["mass | nodule"]


def test_strict_and_missing_folders(copy, tmp_path):
    with pytest.raises(ValueError, match=r"train: 2 rows, published 4500.*validation: 1 rows, published 500"):
        load_vqa_med_2021(copy, strict=True)
    (tmp_path / vqa_med_2021.TEST).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"vqa_med_2021: looked in .* for {vqa_med_2021.TEST}"):
        load_vqa_med_2021(copy)
