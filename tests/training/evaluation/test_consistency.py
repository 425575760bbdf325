import itertools

import numpy as np
import pytest
from small_evaluations import prediction

from amif.training.evaluation.consistency import consistency


def row(image, template, answer, correct=None, **further):
    return prediction(image_id=image, prediction=answer, correct=correct, template=template, **further)


def naive_agreement(groups):
    shares = []
    for answers in groups.values():
        pairs = list(itertools.combinations(answers, 2))
        if pairs:
            shares.append(sum(one == other for one, other in pairs) / len(pairs))
    return 100 * np.mean(shares)


def test_agreement_is_that_of_all_pairs_of_wordings():
    generator = np.random.default_rng(0)
    rows, groups = [], {}
    for _ in range(400):
        image, question, answer = generator.integers(30), f"question {generator.integers(3)}", generator.integers(3)
        rows.append(row(f"image {image}", question, f"answer {answer}"))
        groups.setdefault((image, question), []).append(answer)
    result = consistency(rows)
    assert result.agreement.value == pytest.approx(naive_agreement(groups))
    assert result.agreement.n == sum(len(answers) > 1 for answers in groups.values())
    assert result.wordings == sum(len(answers) for answers in groups.values() if len(answers) > 1)


def test_hand_worked_case():
    result = consistency(
        [
            *(row("a", "is it?", answer, answer == "yes") for answer in ("yes", "Yes.", "no")),
            *(row("a", "where?", answer, True) for answer in ("left", "left")),
            *(row("b", "where?", answer, False) for answer in ("left", "left")),
            row("b", "is it?", "no", True),
        ]
    )
    assert result.agreement.value == pytest.approx(100 * (1 / 3 + 1 + 1) / 3)
    assert result.all_agree.value == pytest.approx(200 / 3)
    assert result.all_right.value == pytest.approx(100 / 3)
    assert (result.agreement.n, result.wordings) == (3, 7)


def test_wordings_are_found_by_their_link_too_and_images_keep_apart():
    linked = {"rephrasing_of": "55"}
    rows = [row("a", None, "yes", **linked), row("a", None, "no", **linked), row("b", None, "yes", **linked)]
    result = consistency(rows)
    assert (result.agreement.value, result.agreement.n) == (0.0, 1)
    assert result.all_right is None


def test_without_several_wordings_there_is_nothing_to_say():
    assert consistency([row("a", "is it?", "yes"), row("b", "is it?", "no")]) is None
    assert consistency([prediction(image_id="a", prediction="yes")] * 2) is None
