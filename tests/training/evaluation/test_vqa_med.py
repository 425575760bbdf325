import pytest

from amif.training.evaluation.vqa_med import strict_match, task_bleu


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("CT w/contrast (IV)", "ct w/contrast (iv)", True),
        ("ct w/contrast", "ct w/contrast (iv)", True),
        ("ct", "ct w/contrast (iv)", False),
        ("ct angiography", "cta#ct angiography", True),
        ("cta ct angiography", "cta#ct angiography", False),
        ("x-ray", "xray", True),
        ("x ray", "xray", False),
        (None, "none", False),
        ("yes", None, None),
    ],
)
def test_strict_match(prediction, reference, right):
    assert strict_match(prediction, reference) is right


def test_bleu_of_hand_worked_answers():
    assert task_bleu("Axial.", "axial") == pytest.approx(1.0)
    assert task_bleu("sagittal", "axial") == 0.0
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples are right, no quadruple is: without smoothing nothing is left.
    assert task_bleu("mr t2 weighted brain", "mr t2 weighted spine") == 0.0
    # 4 words, 3 pairs, 2 triples, 1 quadruple of 5, 4, 3, 2: geometric mean of 4/5, 3/4, 2/3, 1/2
    assert task_bleu("a b c d x", "a b c d e") == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert task_bleu("ct w/contrast", "ct w/contrast (iv)#us") == pytest.approx(1.0)
    assert task_bleu(None, "axial") == 0.0
    assert task_bleu("axial", None) is None
