import json

import pytest
from PIL import Image as Images

from amif.training.data.readers.mimic_cxr_vqa import load_mimic_cxr_vqa

PLACE = "p10/p100/s500/ab-cd.jpg"


def question(split, number, answer, **changes):
    return {
        "split": split,
        "idx": number,
        "subject_id": "100",
        "study_id": "500",
        "image_id": "ab-cd",
        "image_path": PLACE,
        "question": "What is seen in the left lung?",
        "semantic_type": "query",
        "content_type": "attribute",
        "template": "What is seen in the ${object}?",
        "template_program": "program_1",
        "template_arguments": {"object": {"0": "left lung"}},
        "answer": answer,
    } | changes


def write_copy(folder, train, where="dataset", images="files"):
    (folder / where).mkdir(parents=True, exist_ok=True)
    for name, rows in {
        "train": train,
        "valid": [question("valid", 0, ["yes"])],
        "test": [question("test", 0, ["no"])],
    }.items():
        (folder / where / f"{name}.json").write_text(json.dumps(rows))
    (folder / images / PLACE).parent.mkdir(parents=True, exist_ok=True)
    Images.new("L", (4, 4)).save(folder / images / PLACE)
    return folder


TRAIN = [question("train", 0, ["atelectasis", "pleural effusion"]), question("train", 1, [])]


@pytest.mark.parametrize(("where", "images"), [("dataset", "files"), ("", ""), ("mimiccxrvqa/dataset", "files")])
def test_labels_are_one_answer_and_none_of_them_is_none(tmp_path, where, images):
    splits = load_mimic_cxr_vqa(write_copy(tmp_path, TRAIN, where, images))
    assert splits.num_rows == {"train": 2, "validation": 1, "test": 1}
    rows = splits["train"]
    assert rows["answer"][:] == ["atelectasis, pleural effusion", "none"]
    assert rows["question_id"][:] == ["train|0", "train|1"]
    assert (rows[0]["image_id"], rows[0]["question_type"], rows[0]["image"].size) == ("ab-cd", "attribute", (4, 4))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (question("train", 1, "yes"), r"train\.json: row 1 .*the answer is 'yes', not a list of labels"),
        (question("train", 1, None), "the answer is None, not a list"),
        (question("train", 1, [["yes"]]), r"the answer is \[\['yes'\]\], not a list"),
        ({"question": "Is it?", "image_id": "ab-cd"}, r"no answer or image_path: run the authors' generate_answer\.py"),
        (question("train", 0, ["yes"]), r"the question id 'train\|0' is also that of row 0"),
    ],
)
def test_bad_rows(tmp_path, bad, message):
    write_copy(tmp_path, [TRAIN[0], bad])
    with pytest.raises(ValueError, match=message):
        load_mimic_cxr_vqa(tmp_path)
    assert len(load_mimic_cxr_vqa(tmp_path, on_bad_row="skip")["train"]) == 1


def test_counts(tmp_path):
    with pytest.raises(ValueError, match=r"mimic_cxr_vqa train: 2 rows, published 290031.*validation.* 73567"):
        load_mimic_cxr_vqa(write_copy(tmp_path, TRAIN), strict=True)
