import pytest

from amif.training.data import load_pretraining_dataset, load_vqa_dataset
from amif.training.data.vqa_pairs import to_statement


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Is there a mass?", "Yes", "There is a mass."),
        ("Is there a mass?", "no.", "There is no mass."),
        ("are there any fractures ?", "no", "There are no fractures."),
        ("Is there evidence of a mass?", "yes", "There is evidence of a mass."),
        ("Is the lung clear?", "yes", "Is the lung clear: yes."),
        ("What is the plane?", "Axial", "What is the plane: Axial."),
        ("Is there a mass or a cyst?", "a cyst", "Is there a mass or a cyst: a cyst."),
    ],
)
def test_statements(question, answer, expected):
    assert to_statement(question, answer) == expected


def test_one_pair_for_each_training_image():
    pairs = load_pretraining_dataset("vqa_pairs", vqa_dataset="phantom", num_studies=60, image_size=16)
    questions = load_vqa_dataset("phantom", num_studies=60, image_size=16)
    rows = {row["study_id"]: row for split in pairs.values() for row in split}
    assert list(pairs) == ["train", "validation"]
    assert set(rows) == set(questions["train"]["image_id"])
    for question in questions["train"]:
        row = rows[question["image_id"]]
        assert to_statement(question["question"], question["answer"]) in row["text"]
        assert row["images"][0].tobytes() == question["image"].tobytes()
    asked = {row["image_id"] for split in ("validation", "test") for row in questions[split]}
    assert not asked & set(rows)


def test_real_slake(data_dir):
    pairs = load_pretraining_dataset("vqa_pairs", data_dir / "slake", vqa_dataset="slake")
    assert sum(map(len, pairs.values())) == 450
    texts = {row["study_id"]: row["text"] for row in pairs["train"].select_columns(["study_id", "text"])}
    assert texts["xmlab1"].startswith("What modality is used to take this image: MRI.")
