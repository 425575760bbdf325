import pytest

from amif.training.data import load_pretraining_dataset, load_vqa_dataset


def test_phantom_shows_what_the_questions_ask_about():
    studies = load_pretraining_dataset("phantom", num_studies=60, image_size=32, seed=5)
    questions = load_vqa_dataset("phantom", num_studies=60, image_size=32, seed=5)
    for split in ("train", "validation", "test"):
        asked = {row["image_id"]: row for row in questions[split]}
        assert set(studies[split]["study_id"]) == set(asked)
        for row in studies[split]:
            question = asked[row["study_id"]]
            assert row["images"][0].tobytes() == question["image"].tobytes()
            assert row["box"][0] == question["box"]


def test_phantom_keeps_test_studies_out_of_training():
    studies = load_pretraining_dataset("phantom", num_studies=120, image_size=32)
    test = load_vqa_dataset("phantom", num_studies=360, image_size=32)["test"]
    assert not set(studies["train"]["study_id"]) & set(test["image_id"])
    images = {image.tobytes() for row in studies["train"] for image in row["images"]}
    assert not images & {image.tobytes() for image in test["image"]}


@pytest.mark.parametrize("name", ["mimic", "nowhere.csv", "data/nowhere.csv", "/no/such/folder"])
def test_unknown_names_list_the_readers(name):
    with pytest.raises(ValueError, match=r"mimic_cxr, roco, rocov2, medicat, iu_xray, vqa_pairs\. For your own data"):
        load_pretraining_dataset(name)


@pytest.mark.parametrize("name", ["mimic_cxr", "roco", "rocov2", "medicat", "iu_xray"])
def test_readers_ask_for_their_folder(name):
    with pytest.raises(ValueError, match=f"{name} is read from a local copy: give data_dir"):
        load_pretraining_dataset(name)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("phantom", {"text_column": "report"}, "phantom takes no text_column; it takes image_size, num_studies, seed"),
        (
            "rocov2",
            {"num_studies": 5, "vqa_dataset": "slake"},
            "rocov2 takes no num_studies and no vqa_dataset; ",
        ),
        (
            "own.csv",
            {"reports_dir": "."},
            "own.csv takes no reports_dir; it takes image_column, streaming, ",
        ),
        ("vqa_pairs", {}, "vqa_pairs makes pairs of a set of questions: name it as vqa_dataset"),
    ],
)
def test_options_of_other_sets_are_refused(tmp_path, monkeypatch, name, options, said):
    """They ended in a TypeError about an unexpected keyword."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text("image,text\n")
    with pytest.raises(ValueError, match=said):
        load_pretraining_dataset(name, ".", **options)
