import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_models import CANDIDATES, save_small_checkpoint
from transformers import pipeline

from amif.processing_amif import read_dicom

SCRIPT = Path(__file__).parents[2] / "examples" / "answer.py"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(save_small_checkpoint(tmp_path_factory.mktemp("answer") / "amif-vqa"))


@pytest.fixture
def answer(checkpoint, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["answer.py", *map(str, words), "--model", checkpoint])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        lines = capsys.readouterr().out.splitlines()
        return [(line[11:], float(line[:9])) for line in lines]

    return run


def expected(checkpoint, image, question, **options):
    given = pipeline("medical-vqa", model=checkpoint)(image, question, **options)
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
    with pytest.raises(SystemExit, match="5 images: give it 1 to 4"):
        answer(*images, *images, images[0], "is there a mass?")


def test_dicom_with_a_window(answer, checkpoint):
    path = pytest.importorskip("pydicom.data").get_testdata_file("CT_small.dcm", download=False)
    question = "left lung?"
    assert answer(path, question) == expected(checkpoint, path, question)
    for words, window in ((["lung"], "lung"), (["-600", "1500"], (-600.0, 1500.0))):
        wanted = expected(checkpoint, read_dicom(path, window=window), question)
        assert answer(path, question, "--window", *words) == wanted


def test_a_bad_file_gives_a_message(answer, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SystemExit, match=r"answer\.py: cannot read the image .*a\.png"):
        answer(tmp_path / "a.png", "is there a mass?")
