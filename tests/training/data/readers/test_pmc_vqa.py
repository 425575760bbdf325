import csv
import zipfile

import pytest
from PIL import Image as Images

from amif.training.data.readers.pmc_vqa import load_pmc_vqa

CHOICES = {"Choice A": " A:A mass ", "Choice B": " B: The liver", "Choice C": "C:B", "Choice D": "D: no, it is"}


def row_of_1(image="PMC1_F1.jpg", label="B", **changes):
    return {
        "Figure_path": image,
        "Question": " What is it? ",
        "Answer": " The liver",
        **CHOICES,
        "Answer_label": label,
    } | changes


def row_of_2(image="PMC2_F1.jpg", label="C"):
    own = {"index": 7, "Figure_path": image, "Caption": "A scan", "Question": "Which?"}
    return own | CHOICES | {"Answer": label, "split": "train"}


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def copy(tmp_path):
    (tmp_path / "images").mkdir()
    Images.new("L", (4, 4), 7).save(tmp_path / "images" / "PMC1_F1.jpg")
    write_csv(tmp_path / "train.csv", [row_of_1()])
    write_csv(tmp_path / "test.csv", [row_of_1(label="A"), row_of_1(label=" 'D' ")])
    write_csv(tmp_path / "test_clean.csv", [row_of_1(label="A")])
    with zipfile.ZipFile(tmp_path / "images_2.zip", "w") as archive:
        archive.write(tmp_path / "images" / "PMC1_F1.jpg", "figures/PMC2_F1.jpg")
    for name in ("train_2.csv", "test_2.csv"):
        write_csv(tmp_path / name, [row_of_2()])
    return tmp_path


def test_each_variant_is_a_set_by_itself(copy):
    found = {variant: load_pmc_vqa(copy, variant=variant) for variant in ("1", "clean", "2")}
    assert {variant: splits.num_rows for variant, splits in found.items()} == {
        "1": {"train": 1, "test": 2},
        "clean": {"train": 1, "test": 1},
        "2": {"train": 1, "test": 1},
    }
    assert load_pmc_vqa(copy).num_rows == found["1"].num_rows
    row = found["1"]["train"][0]
    assert (row["question"], row["answer"], row["image_id"]) == ("What is it?", "The liver", "PMC1_F1.jpg")
    assert row["choices"] == ["A mass", "The liver", "B", "no, it is"]
    assert found["1"]["test"]["answer"][:] == ["A mass", "no, it is"]


def test_a_zip_is_read_where_it_lies(copy):
    row = load_pmc_vqa(copy, variant="2")["train"][0]
    assert row["image"].getpixel((0, 0)) == 7
    assert (row["image_id"], row["question_id"]) == ("PMC2_F1.jpg", "PMC2_F1.jpg|Which?")


def test_a_letter_is_the_choice_in_its_place_though_another_choice_reads_so(copy):
    write_csv(copy / "train.csv", [row_of_1(label="B"), row_of_1(label="C", **{"Choice A": ""})])
    assert load_pmc_vqa(copy)["train"]["answer"][:] == ["The liver", "B"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "E"}, r"train\.csv: row 1 \(counted from 0\): the answer is 'E', the letter of none of the choices"),
        ({"label": "A", "Choice A": ""}, "the answer is 'A', the letter of none"),
        ({"image": "PMC9_F1.jpg"}, r"row 1 .*PMC9_F1\.jpg does not exist"),
    ],
)
def test_bad_rows(copy, changes, message):
    write_csv(copy / "train.csv", [row_of_1(), row_of_1(**changes)])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_pmc_vqa(copy)
    assert len(load_pmc_vqa(copy, on_bad_row="skip")["train"]) == 1


def test_other_variants_and_counts_are_refused(copy):
    with pytest.raises(ValueError, match="pmc_vqa has the variants 1, clean, 2, not '3'"):
        load_pmc_vqa(copy, variant="3")
    with pytest.raises(ValueError, match=r"pmc_vqa \(clean\) train: 1 rows, published 176948.*published 2000"):
        load_pmc_vqa(copy, variant="clean", strict=True)
    (copy / "test_2.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"looked in .* for test_2\.csv and found none"):
        load_pmc_vqa(copy, variant="2")
