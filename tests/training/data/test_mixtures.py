import json

import numpy as np
import pytest
from datasets import DatasetDict
from PIL import Image
from transformers import PreTrainedConfig

from amif.training.checkpoints.provenance import note_held_out
from amif.training.data.mixtures import add_training_sets, add_vqa_pairs, has_validation, leave_out_shown_images
from amif.training.data.pretraining_schema import build_pretraining_dataset
from amif.training.data.readers.vqa_med_2019 import TEST, TRAINING, VALIDATION
from amif.training.data.schema import build_vqa_dataset
from amif.training.data.vqa_dataset import load_vqa_dataset
from amif.training.fine_tuning.arguments import FineTuningDataArguments
from amif.training.fine_tuning.splits import limit_samples, training_rows


def image(seed):
    """A smooth image: its near-duplicates hash alike, as those of a photograph do."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    return Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)


def own_rows(folder, seeds):
    rows = []
    for seed in seeds:
        path = folder / f"{seed}.png"
        image(seed).save(path)
        row = {"image": str(path), "question": "where?", "answer": "left", "image_id": f"synpic{seed}"}
        rows.append(row | {"question_id": str(seed)})
    return build_vqa_dataset(rows, ["organ"])


def own_pairs(folder):
    image(1).save(folder / "1.png")
    return build_pretraining_dataset([{"images": [folder / "1.png"], "text": "a report", "study_id": "1"}])


@pytest.fixture
def splits(tmp_path):
    return DatasetDict(
        {name: own_rows(tmp_path, seeds) for name, seeds in (("train", [1]), ("validation", [2]), ("test", [3, 4]))}
    )


@pytest.fixture
def other(tmp_path):
    """A copy of VQA-Med-2019's form with images that are new, of the same id, of the same pixels, nearly the same."""
    images = {"new": image(9), "synpic2": image(10), "copy": image(3), "near": image(4).resize((80, 80))}
    for split, folder in (("train", TRAINING), ("val", VALIDATION)):
        place = tmp_path / "med" / folder / f"{split.capitalize()}_images"
        place.mkdir(parents=True)
        for name, drawn in images.items():
            drawn.save(place / f"{name}.jpg", format="PNG")
        lines = [f"{name}|is this {question}?|yes\n" for name in images for question in ("ct", "mri")]
        (place.parent / f"All_QA_Pairs_{split}.txt").write_text("".join(lines))
    (tmp_path / "med" / TEST / "VQAMed2019_Test_Images").mkdir(parents=True)
    (tmp_path / "med" / TEST / "VQAMed2019_Test_Questions.txt").write_text("")
    return f"vqa_med_2019={tmp_path / 'med'}"


def test_rows_are_added_but_for_images_that_are_evaluated(splits, other):
    rows = add_training_sets(splits, [other], progress=False)
    assert rows["image_id"] == ["synpic1", "vqa_med_2019/new", "vqa_med_2019/new"]
    assert rows["question_id"][1:] == [f"vqa_med_2019/new|is this {question}?" for question in ("ct", "mri")]
    assert rows["answer"] == ["left", "yes", "yes"]
    assert rows[1]["image"].size == (96, 96)


def test_a_quick_evaluation_lets_no_other_evaluated_image_into_training(splits, other):
    data_args = FineTuningDataArguments(also_train_on=[other], max_eval_samples=1)
    few = limit_samples(splits, data_args)
    assert len(few["test"]) == 1
    rows = training_rows(few["train"], splits, data_args)
    assert set(rows["image_id"]) == {"synpic1", "vqa_med_2019/new"}


def test_images_of_the_training_split_may_be_shared(splits, other):
    splits["train"], splits["test"] = splits["test"], splits["train"]
    added = add_training_sets(splits, [other], progress=False)["image_id"][2:]
    assert set(added) == {"vqa_med_2019/new", "vqa_med_2019/copy", "vqa_med_2019/near"}


def test_training_rows_lose_images_that_another_set_will_show(tmp_path, other):
    """The other set shows images 3 and 4, and the ids synpic2 and "new", in its validation split."""
    rows = own_rows(tmp_path, [1, 2, 3, 4, 5])
    kept = leave_out_shown_images(rows, [other], progress=False)
    assert kept["image_id"] == ["synpic1", "synpic5"]
    assert kept.column_names == rows.column_names


def test_pairs_of_vqa_sets_come_behind_without_images_that_are_evaluated(tmp_path, other):
    pairs = own_pairs(tmp_path)
    images = tmp_path / "med" / TRAINING / "Train_images"
    image(12).save(images / "unseen.jpg", format="PNG")
    with open(images.parent / "All_QA_Pairs_train.txt", "a") as file:
        file.write("unseen|is there a mass?|no\nunseen|what is the plane?|axial\n")
    joined = add_vqa_pairs(pairs, [other], progress=False)
    assert joined["study_id"] == ["1", "vqa_med_2019/unseen"]
    assert joined["text"] == ["a report", "There is no mass. what is the plane: axial."]
    assert joined[1]["images"][0].size == (96, 96)


@pytest.fixture
def shared(tmp_path):
    """VQA-RAD's form: fourteen questions about seven training images, all of which its test shows too."""
    (tmp_path / "rad" / "images").mkdir(parents=True)
    rows = []
    for seed in range(20, 27):
        image(seed).save(tmp_path / "rad" / "images" / f"synpic{seed}.jpg", format="PNG")
        for word in ("mass", "cyst"):
            rows.append(
                {
                    "qid": len(rows),
                    "image_name": f"synpic{seed}.jpg",
                    "question": f"is there a {word}?",
                    "answer": "yes",
                    "answer_type": "CLOSED",
                    "question_type": "PRES",
                    "phrase_type": "freeform",
                }
            )
    (tmp_path / "rad" / "trainset.json").write_text(json.dumps(rows))
    test = [{name: value for name, value in row.items() if name != "answer"} for row in rows]
    (tmp_path / "rad" / "testset_questions.json").write_text(json.dumps(test))
    return f"vqa_rad={tmp_path / 'rad'}"


def test_pairs_of_images_that_are_shared_by_design(tmp_path, shared, other):
    """By wording, VQA-RAD's pairs keep images that its own validation and test show, without validation questions."""
    pairs = own_pairs(tmp_path)
    by_image = add_vqa_pairs(pairs, [shared, other], progress=False)
    assert by_image["study_id"] == ["1"]
    joined = add_vqa_pairs(pairs, [shared, other], "wording", progress=False)
    splits = load_vqa_dataset("vqa_rad", shared.partition("=")[2], validation_by="wording")
    expected = {}
    for row in splits["train"]:
        expected.setdefault(f"vqa_rad/{row['image_id']}", []).append(f"There is a {row['question'][11:-1]}.")
    texts = dict(zip(joined["study_id"][1:], joined["text"][1:], strict=True))
    assert texts == {study_id: " ".join(sentences) for study_id, sentences in expected.items()}
    assert sum(text.count("There") for text in texts.values()) == 14 - len(splits["validation"])


def test_a_checkpoint_remembers_what_its_pairs_held_out(shared, other):
    assert [has_validation(source) for source in (shared, other)] == [False, True]
    config = PreTrainedConfig()
    note_held_out(config, ["vqa_rad"], "wording")
    note_held_out(config, ["own.csv"], "image")
    assert config.validation_by == {"vqa_rad": "wording", "own.csv": "image"}
    with pytest.raises(ValueError, match="read pairs of vqa_rad with --validation_by wording: with image it"):
        note_held_out(config, ["own.csv", "vqa_rad"], "image")


def test_images_of_a_validation_made_by_wording_are_left_out_of_other_sets(tmp_path, shared, other):
    """An image that validation by wording shows; validation by image and the test do not."""
    (tmp_path / "rad" / "testset_questions.json").write_text("[]")
    folder, modes = shared.partition("=")[2], ("image", "wording")
    by_image, by_wording = (
        set(load_vqa_dataset("vqa_rad", folder, validation_by=by)["validation"]["image_id"]) for by in modes
    )
    name = min(by_wording - by_image)
    images = tmp_path / "med" / TRAINING / "Train_images"
    (images / "copied.jpg").write_bytes((tmp_path / "rad" / "images" / f"{name}.jpg").read_bytes())
    with open(images.parent / "All_QA_Pairs_train.txt", "a") as file:
        file.write("copied|is this ct?|yes\n")
    pairs = own_pairs(tmp_path)
    ids = [add_vqa_pairs(pairs, [shared, other], by, progress=False)["study_id"] for by in modes]
    assert ["vqa_med_2019/copied" in study_ids for study_ids in ids] == [True, False]


def test_images_that_another_set_shows_are_left_out_of_shared_ones_too(tmp_path, shared, other):
    image(20).save(tmp_path / "med" / VALIDATION / "Val_images" / "copied.jpg", format="PNG")
    with open(tmp_path / "med" / VALIDATION / "All_QA_Pairs_val.txt", "a") as file:
        file.write("copied|is this ct?|yes\n")
    pairs = own_pairs(tmp_path)
    assert "vqa_rad/synpic20" in add_vqa_pairs(pairs, [shared], "wording", progress=False)["study_id"]
    assert "vqa_rad/synpic20" not in add_vqa_pairs(pairs, [shared, other], "wording", progress=False)["study_id"]


def test_a_source_without_a_folder(splits):
    with pytest.raises(ValueError, match="give name=folder"):
        add_training_sets(splits, ["slake"], progress=False)
