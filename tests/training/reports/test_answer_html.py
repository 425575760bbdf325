import numpy as np
import pytest
from PIL import Image

from amif.training.reports.answer_html import Answered, Checkpoint, answer_panel, map_note, viewer

ANSWERED = Answered([("left <lung>", -0.1), ("right lung", -3.0)], ["whole question"], [np.ones((2, 2))], 0.12)


def checkpoint(*learned_from: str, threshold: float | None = None) -> Checkpoint:
    return Checkpoint("my-vqa", learned_from, 24, threshold)


def test_answers_stand_with_their_probabilities_as_plain_text():
    panel = answer_panel(ANSWERED, checkpoint("slake", "rocov2"), generated=False)
    assert "left &lt;lung&gt;" in panel
    assert "<lung>" not in panel
    assert "90.5 %" in panel  # exp(-0.1)
    assert "5.0 %" in panel  # exp(-3)
    assert "the best of the 24 answers it knows" in panel
    assert "my-vqa, which learned from slake, rocov2. 0.12 s" in panel


@pytest.mark.parametrize(
    ("learned_from", "generated", "warned"),
    [
        (["phantom"], False, True),
        (["phantom"], True, False),
        (["phantom", "slake"], False, False),
        ([], False, False),
    ],
)
def test_a_model_of_drawings_alone_warns_on_real_images(learned_from, generated, warned):
    panel = answer_panel(ANSWERED, checkpoint(*learned_from), generated=generated)
    assert ("of a real image it knows nothing" in panel) == warned


def test_a_checkpoint_that_names_no_data_says_so():
    assert "learned from data that it does not name" in answer_panel(ANSWERED, checkpoint(), generated=True)


def test_an_answer_below_the_threshold_is_withheld():
    panel = answer_panel(ANSWERED, checkpoint("slake", threshold=-0.05), generated=False)
    assert "would not answer" in panel
    assert "would not answer" not in answer_panel(ANSWERED, checkpoint("slake", threshold=-0.2), generated=False)


def test_the_viewer_lays_the_map_over_the_image_and_escapes_messages():
    page = viewer(Image.new("RGB", (30, 20)), np.arange(4.0).reshape(2, 2))
    assert 'alt="The image"' in page
    assert 'alt="Map over 2 x 2 patches"' in page
    assert "&lt;b&gt;" in viewer(None, message="<b>")
    assert "&lt;i&gt;" in map_note("<i>")
