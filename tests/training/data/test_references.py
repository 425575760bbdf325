import pytest

from amif.training.data.readers.vqa_med_2019 import load_vqa_med_2019
from amif.training.data.references import plain_answer
from amif.training.evaluation.vqa_med import acceptable_vqa_med_answers


@pytest.mark.parametrize(
    ("reference", "learned"),
    [
        ("ct w/contrast (iv)#ct", "ct w/contrast iv"),
        ("Yes", "yes"),
        ("#mri", "mri"),
        ("(avm)", "avm"),
        ("...", ""),
        ("", ""),
    ],
)
def test_plain_answer(reference, learned):
    assert plain_answer(reference) == learned


def test_what_is_learned_scores_as_right(data_dir):
    splits = load_vqa_med_2019(data_dir / "vqa_med_2019")
    for answer in {*splits["train"]["answer"], *splits["validation"]["answer"]}:
        assert plain_answer(answer) in acceptable_vqa_med_answers(answer), answer
