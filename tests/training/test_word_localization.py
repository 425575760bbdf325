import numpy as np
import pytest
from PIL import Image

from amif.training import word_localization
from amif.training.evaluation.word_maps import WordMaps
from amif.training.word_localization import finding_localization, finding_question


def study(finding, box):
    return {"images": [Image.new("L", (40, 40))], "finding": finding, "box": [box, None], "text": f"a {finding} left"}


def test_masses_and_hits_by_hand(monkeypatch):
    """A 2 x 2 grid on 40 pixels: the first box is the upper left patch, the second the lower half."""
    cyst, rest = np.array([[0.4, 0.3], [0.2, 0.1]]), np.full((2, 2), 0.25)

    def maps(model, processor, image, text):
        words = text.replace("?", "").split()
        planned = [cyst if word in ("cyst", "mass") else rest for word in words]
        return WordMaps(words, planned, [values[::-1] for values in planned])

    monkeypatch.setattr(word_localization, "word_maps", maps)
    studies = [study("cyst", [0, 0, 20, 20]), study("mass", [0, 20, 40, 40]), study(None, None)]
    found = finding_localization(None, None, studies, lambda one: one["text"])
    assert found["n"] == 2
    assert found["transport"] == pytest.approx({"mass": (0.4 + 0.3) / 2, "hit": 0.5, "chance": (0.25 + 0.5) / 2})
    assert found["attention"] == pytest.approx({"mass": (0.2 + 0.7) / 2, "hit": 0.5, "chance": (0.25 + 0.5) / 2})
    with pytest.raises(ValueError, match="None of 3 studies"):
        finding_localization(None, None, studies, lambda one: "nothing")


def test_the_question_names_the_finding():
    assert finding_question({"finding": "free air"}) == "is there free air?"
    assert finding_question({"finding": "mass"}) == "is there a mass?"
