from collections import Counter
from itertools import pairwise

import pytest
from datasets import DatasetDict
from small_sets import vqa_rad_row, write_vqa_rad

from amif.training.data import load_vqa_dataset
from amif.training.data.official_split import OFFICIAL_COUNTS, add_official_validation
from amif.training.data.readers.vqa_rad import load_vqa_rad

# Questions as VQA-RAD's training set has them: a written one, its template, its other wording, and that one's template.
TWO_WORDINGS = ("freeform", "frame", "para", "frame")


def small_rad(folder, kinds):
    """One image for each four questions, which are of these kinds, one after another."""
    rows = []
    for place, phrases in enumerate(kinds):
        # A number is left out between questions, so that none is a rephrasing of the one before.
        first = rows[-1]["qid"] + 2 if rows else 1
        image = f"synpic{place // 4}.jpg"
        rows += [vqa_rad_row(first + step, image, phrase_type=phrase) for step, phrase in enumerate(phrases)]
    return write_vqa_rad(folder, rows, [])


def of(column, rows):
    return Counter(rows[column][:])


def test_real_test_is_made_of_so_many_questions_of_each_kind(data_dir):
    """By the numbers of the test questions: a template follows what it is the form of, and a second wording that."""
    splits = load_vqa_rad(data_dir / "vqa_rad")
    phrases = dict(zip(map(int, splits["train"]["question_id"]), splits["train"]["phrase_type"], strict=True))
    images = {
        int(row): image
        for rows in splits.values()
        for row, image in zip(rows["question_id"], rows["image_id"], strict=True)
    }
    tests = sorted(map(int, splits["test"]["question_id"]))

    def templated(number):
        return phrases.get(number + 1) == "frame" and images[number + 1] == images[number]

    second = {
        after
        for number, after in pairwise(tests)
        if after == number + 2 and templated(number) and images[after] == images[number]
    }
    # Of three or more in a row every other one begins a question.
    paired = set()
    for number in sorted(second):
        if number - 2 not in paired:
            paired |= {number - 2, number}
    counts = {
        "two wordings": len(paired),
        "one wording": sum(templated(number) for number in tests if number not in paired),
        "alone": sum(not templated(number) for number in tests if number not in paired),
    }
    assert counts == OFFICIAL_COUNTS


def test_real_validation_has_the_kinds_of_the_test(data_dir):
    splits = load_vqa_dataset("vqa_rad", data_dir / "vqa_rad", validation_by="official")
    train, validation = splits["train"], splits["validation"]
    assert (len(train), len(validation), len(splits["test"])) == (2603, 461, 451)
    assert set(validation["phrase_type"]) == {"freeform", "para"}
    assert set(validation["image_id"]) <= set(train["image_id"])
    wordings = of("rephrasing_of", validation)
    templates = of("rephrasing_of", train.filter(lambda row: row["phrase_type"] == "frame"))
    kinds = Counter(
        "two wordings" if wordings[first] == 2 else "one wording" if templates[first] else "alone"
        for first in validation["rephrasing_of"]
    )
    for kind, count in OFFICIAL_COUNTS.items():
        assert abs(kinds[kind] - count * 461 / 451) <= 1, kind
    # Nothing of a held-out question but its templates is trained on.
    assert all(
        row["phrase_type"] == "frame" for row in train.remove_columns("image") if row["rephrasing_of"] in wordings
    )


def test_each_image_stays_in_training(tmp_path):
    """Each question is alone on its image but for those of the last one, so that only these can be held out."""
    rows = [vqa_rad_row(2 * number, f"synpic{number}.jpg") for number in range(40)]
    for phrases in [TWO_WORDINGS, ("freeform", "frame"), ("freeform",)] * 9:
        first = rows[-1]["qid"] + 2
        rows += [vqa_rad_row(first + step, "last.jpg", phrase_type=phrase) for step, phrase in enumerate(phrases)]
    splits = add_official_validation(load_vqa_rad(write_vqa_rad(tmp_path, rows, [])), fraction=0.1)
    assert of("image_id", splits["validation"]) == {"last": len(splits["validation"])}
    assert len(splits["train"]) + len(splits["validation"]) == len(rows)


def test_order_of_rows_does_not_matter(tmp_path):
    kinds = [TWO_WORDINGS, ("freeform", "frame"), ("freeform",), ("freeform",)] * 10
    rows = load_vqa_rad(small_rad(tmp_path, kinds))["train"]
    chosen = [
        set(add_official_validation(DatasetDict({"train": some}))["validation"]["question_id"])
        for some in (rows, rows.select(range(len(rows) - 1, -1, -1)))
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0]


def test_questions_without_templates_are_refused(tmp_path):
    folder = small_rad(tmp_path, [("freeform",)] * 40)
    with pytest.raises(ValueError, match=r"0 of 3 held-out questions of the kind 'two wordings'\. Give another"):
        load_vqa_dataset("vqa_rad", folder, validation_by="official")


def test_fifths_and_sets_without_phrases_are_refused(tmp_path):
    folder = small_rad(tmp_path / "rad", [TWO_WORDINGS] * 8)
    with pytest.raises(ValueError, match="validation_fold 2: 'official' makes no fifths"):
        load_vqa_dataset("vqa_rad", folder, validation_by="official", validation_fold=2)
    own = DatasetDict({"train": load_vqa_rad(folder)["train"].remove_columns("phrase_type")})
    with pytest.raises(ValueError, match="these data have no column 'phrase_type'"):
        add_official_validation(own)
