import pytest
from PIL import Image

from amif.training.data import load_pretraining_dataset, load_vqa_dataset
from amif.training.data.readers.vqa_pairs import to_statement


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


def test_a_missing_validation_is_made_as_asked(tmp_path):
    """By wording, every image stays but the validation question about it, which no text holds."""
    lines = ["image,question,answer"]
    for number in range(20):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
        lines += [f"{number}.png,is it {number}?,yes", f"{number}.png,what of {number}?,mass"]
    file = tmp_path / "own.csv"
    file.write_text("\n".join(lines))
    held_out = load_vqa_dataset(file, validation_by="wording")["validation"]
    assert len(held_out) == 6
    pairs = load_pretraining_dataset("vqa_pairs", vqa_dataset=file, validation_by="wording")
    texts = {row["study_id"]: row["text"] for split in pairs.values() for row in split}
    whole = {f"{n}.png": {f"is it {n}: yes.", f"what of {n}: mass."} for n in range(20)}
    for row in held_out:
        whole[row["image_id"]].remove(to_statement(row["question"], row["answer"]))
    assert texts.keys() == {image_id for image_id, statements in whole.items() if statements}
    for image_id, text in texts.items():
        assert sum(map(len, whole[image_id])) + len(whole[image_id]) - 1 == len(text)
        assert all(statement in text for statement in whole[image_id])


def test_real_slake(data_dir):
    pairs = load_pretraining_dataset("vqa_pairs", data_dir / "slake", vqa_dataset="slake")
    assert sum(map(len, pairs.values())) == 450
    texts = {row["study_id"]: row["text"] for row in pairs["train"].select_columns(["study_id", "text"])}
    assert texts["xmlab1"].startswith("What modality is used to take this image: MRI.")
