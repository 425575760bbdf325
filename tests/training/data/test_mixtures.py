import json

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, concatenate_datasets, interleave_datasets
from PIL import Image
from transformers import PreTrainedConfig

from amif.training.checkpoints.provenance import note_held_out
from amif.training.data import mixtures
from amif.training.data.mixtures import (
    SET_COLUMN,
    add_training_sets,
    add_vqa_pairs,
    first_rows,
    has_validation,
    leave_out_images_of_other_sets,
    leave_out_shown_images,
    load_sources,
    mix,
    mix_rows,
    places_by_set,
    right_answers,
    rows_by_set,
    with_set_name,
)
from amif.training.data.pretraining_dataset import load_pretraining_dataset, pair_reader_of
from amif.training.data.pretraining_schema import build_pretraining_dataset
from amif.training.data.readers.medicat import FIGURES
from amif.training.data.readers.vqa_med_2019 import TEST, TRAINING, VALIDATION
from amif.training.data.references import acceptable_answers
from amif.training.data.schema import build_vqa_dataset
from amif.training.data.sources import Source
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


def test_rows_that_are_added_have_weights_too(splits, other):
    arguments = FineTuningDataArguments("slake", also_train_on=[other], mixing=["1", "3"])
    rows = training_rows(splits["train"], splits, arguments)
    assert {name: len(places) for name, places in places_by_set(rows).items()} == {"slake": 1, "vqa_med_2019": 2}
    assert rows["question_id"][0] == splits["train"]["question_id"][0]


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
    of_sets = add_vqa_pairs(with_set_name(pairs, "roco"), [other], progress=False)
    assert of_sets[SET_COLUMN] == ["roco", "vqa_med_2019"]
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


def own_file(folder, name, rows):
    """A folder of a table for each split, with rows of study, text and further cells, about one image each."""
    (folder / name).mkdir()
    image(1).save(folder / name / "1.png")
    for split, listed in rows.items():
        lines = [json.dumps({"image": "1.png"} | row) for row in listed]
        (folder / name / f"{split}.jsonl").write_text("\n".join(lines))
    return Source(str(folder / name))


@pytest.fixture
def two_sets(tmp_path):
    studies = [{"study_id": number, "text": f"report {number}", "width": [number]} for number in range(4)]
    one = own_file(tmp_path, "one", {"train": studies[:3], "validation": studies[3:]})
    other = [row | {"width": "wide", "organ": "lung"} for row in studies]
    return one, own_file(tmp_path, "two", {"train": other[:2], "validation": other[2:3], "test": other[3:]})


def load_pairs(sources, **options):
    return load_sources(sources, load_pretraining_dataset, pair_reader_of, ("study_id",), options)


def test_several_sets_are_joined_split_by_split(two_sets, monkeypatch):
    said = []
    monkeypatch.setattr(mixtures.logger, "warning", said.append)
    splits = load_pairs([Source("phantom"), *two_sets], study_column="study_id", num_studies=5)
    train = splits["train"]
    of_phantom = len(places_by_set(train)["phantom"])
    assert train["study_id"][of_phantom:] == ["one/0", "one/1", "one/2", "two/0", "two/1"]
    assert all(name.startswith("phantom/") for name in train["study_id"][:of_phantom])
    assert train[SET_COLUMN] == ["phantom"] * of_phantom + ["one"] * 3 + ["two"] * 2
    assert train["organ"][of_phantom:] == [None] * 3 + ["lung"] * 2
    assert train["text"][of_phantom:] == ["report 0", "report 1", "report 2", "report 0", "report 1"]
    assert train[of_phantom]["images"][0].size == (96, 96)
    assert places_by_set(splits["validation"]).keys() == {"phantom", "one", "two"}
    assert "test: of phantom, two alone, since one has no such split." in said
    clash = next(text for text in said if "width" in text)
    assert "width is left out, which is of several types" in clash
    assert "width" not in train.column_names


def test_one_set_is_read_as_it_is(two_sets):
    alone = load_pretraining_dataset(two_sets[1].dataset, study_column="study_id")
    read = load_pairs(two_sets[1:], study_column="study_id")
    assert read["train"].features == alone["train"].features
    assert read["train"]["study_id"] == alone["train"]["study_id"]


def test_what_no_set_takes_and_what_one_cannot_read_is_said_with_the_set(two_sets, tmp_path):
    with pytest.raises(ValueError, match="--num_studies: none of one, two takes it"):
        load_pairs(two_sets, num_studies=3)
    (tmp_path / "two" / "train.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"^two: .*train\.jsonl"):
        load_pairs(two_sets)
    (tmp_path / FIGURES).write_text("{")
    with pytest.raises(ValueError, match=r"^medicat: .*jsonl: line 1 cannot be read as JSON"):
        load_pairs([Source("medicat", str(tmp_path)), two_sets[0]], study_column="study_id")


def test_rows_of_a_set_have_its_own_columns(two_sets):
    train = load_pairs([Source("phantom"), *two_sets], study_column="study_id", num_studies=5)["train"]
    parts = rows_by_set(train)
    assert parts["one"]["study_id"] == ["one/0", "one/1", "one/2"]
    assert {"box", SET_COLUMN, "organ"}.isdisjoint(parts["one"].column_names)
    assert {"box", "organ"} <= set(parts["phantom"].column_names)
    assert rows_by_set(parts["one"]) == {}


def test_the_first_rows_are_those_of_each_set(two_sets):
    train = load_pairs(two_sets, study_column="study_id")["train"]
    assert first_rows(train, 1)["study_id"] == ["one/0", "two/0"]
    assert first_rows(train, 9)["study_id"] == train["study_id"]
    assert first_rows(train.remove_columns(SET_COLUMN), 1)["study_id"] == ["one/0"]


def joined_rows(**sizes):
    """Sets of so many rows, each a letter and a number."""
    parts = {name: Dataset.from_dict({"row": [f"{name}{n}" for n in range(size)]}) for name, size in sizes.items()}
    return [*parts.values()], concatenate_datasets([with_set_name(part, name) for name, part in parts.items()])


def test_mixed_rows_are_those_of_datasets_own_functions():
    parts, joined = joined_rows(a=7, b=2, c=4)
    every = {"stopping_strategy": "all_exhausted"}
    assert mix_rows(joined, "proportional", 3)["row"] == concatenate_datasets(parts)["row"]
    assert mix_rows(joined, "equal", 3)["row"] == interleave_datasets(parts, **every)["row"]
    weighted = interleave_datasets(parts, probabilities=[0.5, 0.25, 0.25], seed=3, **every)["row"]
    assert mix_rows(joined, ["2", "1", "1"], 3)["row"] == weighted
    assert mix_rows(joined, ["2", "1", "1"], 3)["row"] == weighted, "resumed, the same"
    assert mix_rows(joined, ["2", "1", "1"], 4)["row"] != weighted
    streams = [part.to_iterable_dataset() for part in parts]
    streamed = [row["row"] for row in mix(streams, "equal")]
    assert streamed == [row["row"] for row in interleave_datasets(streams, **every)]
    assert streamed == mix_rows(joined, "equal", 3)["row"][: len(streamed)]


def test_shares_are_those_that_are_asked_for_and_no_row_is_left_out():
    _, joined = joined_rows(a=600, b=100)
    drawn = mix_rows(joined, ["1", "3"], seed=0)
    counts = {name: len(places) for name, places in places_by_set(drawn).items()}
    assert counts["a"] >= 600
    assert counts["b"] / len(drawn) == pytest.approx(0.75, abs=0.03)  # over three standard deviations of 2,400 draws
    assert set(drawn["row"]) == set(joined["row"])
    by_turns = places_by_set(mix_rows(joined, "equal", seed=0))
    assert [len(places) for places in by_turns.values()] == [600, 600]
    repeats = np.unique([row for row in drawn["row"] if row[0] == "b"], return_counts=True)[1]
    assert np.ptp(repeats) <= 1, "a set begins anew when it is through"


def test_weights_are_of_the_sets_that_are_there():
    _, joined = joined_rows(a=3, b=0)
    with pytest.raises(ValueError, match="2 weights, and training rows are of a alone"):
        mix_rows(joined, ["1", "2"], 0)


def test_training_images_that_another_set_evaluates_are_left_out(tmp_path):
    """The second set's test shows image 2 of the first, and the first's own test its image 1."""
    one, two = (DatasetDict({"train": own_rows(tmp_path, seeds)}) for seeds in ([1, 2, 3], [4, 5]))
    one["test"], two["test"] = own_rows(tmp_path, [1]), own_rows(tmp_path, [2])
    parts = {"one": one, "two": two}
    joined = DatasetDict()
    for split in ("train", "test"):
        named = [with_set_name(part[split], name, ("image_id",)) for name, part in parts.items()]
        joined[split] = concatenate_datasets(named)
    kept = leave_out_images_of_other_sets(joined["train"], joined, progress=False)
    assert kept["image_id"] == ["one/synpic1", "one/synpic3", "two/synpic4", "two/synpic5"]
    assert kept.column_names == joined["train"].column_names


def test_references_are_read_as_their_own_set_has_them():
    answers = {"answer": ["ct#mri", None]}
    sets = ("vqa_med_2019", "slake")
    rows = concatenate_datasets([with_set_name(Dataset.from_dict(answers), name) for name in sets])
    own = [acceptable_answers("ct#mri"), []]
    assert right_answers(rows, acceptable_answers) == [["ct", "mri"], [], *own]
    assert right_answers(Dataset.from_dict(answers), acceptable_answers) == own


def test_a_column_of_the_same_name_is_refused():
    with pytest.raises(ValueError, match="own has a column dataset_name"):
        with_set_name(Dataset.from_dict({SET_COLUMN: ["a"]}), "own")
