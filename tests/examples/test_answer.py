import csv
import functools
import io
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_models import CANDIDATES, save_small_checkpoint
from transformers import pipeline
from written_dicom import dicom_and_pixels, named_patients, write_dicom
from written_nifti import write_nifti

from amif.processing_amif import read_dicom, read_nifti

SCRIPT = Path(__file__).parents[2] / "examples" / "answer.py"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(save_small_checkpoint(tmp_path_factory.mktemp("answer") / "amif-vqa"))


@pytest.fixture
def answer(checkpoint, monkeypatch, capsys):
    def run(*words):
        start(monkeypatch, *words, "--model", checkpoint)
        lines = capsys.readouterr().out.splitlines()
        return [(line[11:], float(line[:9])) for line in lines]

    return run


def start(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["answer.py", *map(str, words)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


@functools.cache
def pipeline_of(checkpoint):
    return pipeline("medical-vqa", model=checkpoint)


def expected(checkpoint, image, question, **options):
    given = pipeline_of(checkpoint)(image, question, **options)
    return [(one["answer"], pytest.approx(one["score"], abs=1e-4)) for one in given]


def test_ranked_answers_of_an_image(answer, checkpoint, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    ranked = answer(tmp_path / "a.png", "is there a mass?", "--top_k", 5)
    assert ranked == expected(checkpoint, tmp_path / "a.png", "is there a mass?", top_k=5)
    assert sorted(text for text, _ in ranked) == sorted(CANDIDATES)
    (one,) = answer(tmp_path / "a.png", "is there a mass?", "--candidates", "mass", "no")
    assert one[0] in ("mass", "no")


def test_a_question_about_two_images(answer, checkpoint, tmp_path):
    images = [tmp_path / "before.png", tmp_path / "after.png"]
    for seed, file in enumerate(images):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file)
    row = {"image": images, "question": "is there a mass?"}
    assert answer(*images, "is there a mass?", "--top_k", 2) == expected(checkpoint, row, None, top_k=2)


def test_dicom_with_a_window(answer, checkpoint):
    path = pytest.importorskip("pydicom.data").get_testdata_file("CT_small.dcm", download=False)
    question = "left lung?"
    assert answer(path, question) == expected(checkpoint, path, question)
    for words, window in ((["lung"], "lung"), (["-600", "1500"], (-600.0, 1500.0))):
        wanted = expected(checkpoint, read_dicom(path, window=window), question)
        assert answer(path, question, "--window", *words) == wanted


def test_a_bad_file_gives_a_message(answer, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SystemExit, match="1"):
        answer(tmp_path / "a.png", "is there a mass?")
    assert re.fullmatch(r"answer\.py: error: cannot read the image .*a\.png.*\n", capsys.readouterr().err)


def test_a_folder_is_answered_file_by_file(checkpoint, tmp_path, monkeypatch, capfd, caplog):
    """In several batches; what cannot be read is named, and no patient is."""
    folder = tmp_path / "study"
    (folder / "series").mkdir(parents=True)
    pixels = {f"series/{name}": values for name, values in dicom_and_pixels(folder / "series").items()}
    for number in range(17):
        values = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        pixels[f"{number:02}.png"] = values
        Image.fromarray(values).save(folder / f"{number:02}.png")
    write_dicom(folder / "dose", np.zeros((4, 4), np.uint16), Modality="RTDOSE")
    for name in ("broken.dcm", "notes.txt", "volume.nii.gz"):
        (folder / name).write_bytes(b"no image")
    words = [folder, "left lung?", "--model", checkpoint, "--top_k", 2]
    with pytest.raises(SystemExit, match="1"):
        start(monkeypatch, *words, "--output", tmp_path / "answers.csv")
    out, error = capfd.readouterr()
    said = [out, error, caplog.text, (tmp_path / "answers.csv").read_text()]
    assert not named_patients(*said)
    assert error.endswith("answer.py: error: 3 of 23 images could not be read, and 20 are answered.\n")
    assert all(str(folder / name) in error for name in ("dose", "broken.dcm", "notes.txt", "volume.nii.gz"))
    assert "kind RT Dose" in error
    assert "volume.nii.gz as NIfTI (it begins otherwise" in error
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [name for name in sorted(pixels) for _ in range(2)]
    for place, name in enumerate(sorted(pixels)):
        wanted = expected(checkpoint, Image.fromarray(pixels[name]), "left lung?", top_k=2)
        assert [(row["answer"], float(row["score"])) for row in rows[2 * place : 2 * place + 2]] == wanted
    assert {row["file"]: row["shown"] for row in rows if row["shown"]} == {"series/cine.DCM": "frame 1 of 3, from 0"}
    # Where no file has several frames, the table has three columns.
    start(monkeypatch, folder / "00.png", "left lung?", "--model", checkpoint, "--output", tmp_path / "one.csv")
    assert next(csv.reader(io.StringIO((tmp_path / "one.csv").read_text()))) == ["file", "answer", "score"]


def test_a_volume_is_shown_as_a_frame_or_a_montage(checkpoint, tmp_path, monkeypatch, capsys):
    values = np.random.default_rng(0).integers(0, 256, (9, 20, 20), dtype=np.uint8)
    path = write_dicom(tmp_path / "volume", values)
    montage = np.concatenate([np.concatenate(values[[1, 3]], axis=1), np.concatenate(values[[5, 7]], axis=1)])
    for words, image, said in (
        ([], values[4], "(frame 4 of 9, from 0)"),
        (["--frame", 0], values[0], "(frame 0 of 9, from 0)"),
        (["--montage", 4], montage, "(montage of the frames 1, 3, 5, 7 of 9, from 0)"),
    ):
        ((wanted, score),) = expected(checkpoint, Image.fromarray(image), "left lung?")
        start(monkeypatch, path, "left lung?", "--model", checkpoint, *words)
        answer, shown = capsys.readouterr().out.splitlines()
        assert (answer[11:], float(answer[:9]), shown) == (wanted, score, said)
    start(monkeypatch, tmp_path, "left lung?", "--model", checkpoint, "--montage", 9)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["file"] == "volume"
    assert row["shown"] == "montage of the frames 0, 1, 2, 3, 4, 5, 6, 7, 8 of 9, from 0"


def test_slices_of_a_nifti_volume_and_their_montage(checkpoint, tmp_path, monkeypatch, capsys):
    values = np.random.default_rng(0).integers(0, 256, (20, 20, 9), dtype=np.uint8)
    path = write_nifti(tmp_path / "head.nii.gz", values, cal_max=255)
    axial = values[::-1, ::-1].transpose(2, 1, 0)
    sagittal = values[:, ::-1, ::-1].transpose(0, 2, 1)
    for words, image, said in (
        ([], axial[4], "(axial slice 4 of 9, from 0)"),
        (
            ["--frame", 0, "--window", 100, 50],
            np.asarray(read_nifti(path, 0, (100.0, 50.0))),
            "(axial slice 0 of 9, from 0)",
        ),
        (["--montage", 2], np.hstack(axial[[2, 6]]), "(montage of the axial slices 2, 6 of 9, from 0)"),
        (["--plane", "sagittal"], sagittal[10], "(sagittal slice 10 of 20, from 0)"),
    ):
        ((wanted, score),) = expected(checkpoint, Image.fromarray(image), "left lung?")
        start(monkeypatch, path, "left lung?", "--model", checkpoint, *words)
        answer, shown = capsys.readouterr().out.splitlines()
        assert (answer[11:], float(answer[:9]), shown) == (wanted, score, said)
    start(monkeypatch, tmp_path, "left lung?", "--model", checkpoint)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["file"], row["shown"]) == ("head.nii.gz", "axial slice 4 of 9, from 0")
    write_nifti(path, values[:, :, :1], cal_max=255)
    start(monkeypatch, tmp_path, "left lung?", "--model", checkpoint, "--plane", "sagittal")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["shown"] == "sagittal slice 10 of 20, from 0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere.png what?", r"cannot read the image nowhere\.png"),
        ("empty what?", "empty holds no image"),
        ("broken what?", "2 of 2 images could not be read"),
        ("volume what? --frame 3", "no frame 3: it has 3"),
        ("volume what? --window lung", "no window 'lung' for volume"),
        ("volume.nii what?", r"cannot read volume\.nii as NIfTI"),
        ("1.png what? --montage 2", "--montage and --plane are of DICOM or NIfTI files, and 1.png is none"),
        ("volume what? --plane axial", "--plane is of NIfTI volumes, and volume is none"),
        ("head.nii what? --plane coronal --frame 5", r"head\.nii has no coronal slice 5: it has 5"),
        ("1.png 1.png 1.png 1.png 1.png what?", "5 images: give it 1 to 4"),
        ("volume what? --window lungs", "--window lungs: give abdomen"),
        ("volume what? --montage 0", "--montage 0: give at least 1"),
        ("volume what? --frame -1", "--frame -1: give at least 0"),
        ("volume what? --frame 1 --montage 2", "not allowed with argument"),
        ("volume what? --top_k 0", "--top_k 0: give at least 1"),
        ("volume what? --candidates yes .", r"--candidates '\.'"),
        ("volume what? --output answers.json", r"give a file with the suffix \.csv"),
        ("volume what? --output nowhere/answers.csv", "in a folder that exists"),
        ("volume ~", "the QUESTION is empty"),
    ],
)
def test_what_cannot_be_answered_is_said_before_the_model_is_loaded(wrong, capsys, monkeypatch, words, said):
    with pytest.raises(SystemExit) as ended:
        start(monkeypatch, *(word.replace("~", " ") for word in words.split()))
    text = f"{ended.value} {capsys.readouterr().err}"
    assert re.search(said, text)
    assert not named_patients(text)


@pytest.mark.parametrize(
    ("library", "image", "kind"), [("pydicom", "volume", "dicom"), ("nibabel", "head.nii", "nifti")]
)
def test_without_its_library_one_line_names_the_extra(wrong, monkeypatch, capsys, library, image, kind):
    monkeypatch.setitem(sys.modules, library, None)
    needed = rf'answer\.py: error: reading {kind} needs {library}: pip install "amif\[{kind}\]".*\n'
    for images in (image, "."):
        with pytest.raises(SystemExit):
            start(monkeypatch, images, "what?")
        assert re.fullmatch(needed, capsys.readouterr().err, re.IGNORECASE)


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    """A folder of what can be asked about and what cannot, and no model to load."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("amif.training.checkpoints.model_files.load_checkpoint", None)
    write_dicom(tmp_path / "volume", np.zeros((3, 4, 4), np.uint8))
    write_nifti(tmp_path / "head.nii", np.zeros((4, 5, 6), np.uint8))
    Image.new("L", (4, 4)).save(tmp_path / "1.png")
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    for name in ("broken/a.png", "broken/b.png", "volume.nii"):
        (tmp_path / name).write_bytes(b"no image")
