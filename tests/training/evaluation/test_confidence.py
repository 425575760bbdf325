import numpy as np

from amif.training.evaluation.confidence import confidences_and_verdicts


def test_confidence_is_the_probability_of_the_answer():
    rows = [
        {"score": float(np.log(0.25)), "correct": True},
        {"score": 1e-7, "correct": False},
        {"score": None, "correct": True},
        {"score": -1.0, "correct": None},
    ]
    confidences, correct = confidences_and_verdicts(rows)
    np.testing.assert_allclose(confidences, [0.25, 1.0])
    assert confidences.max() <= 1.0
    assert correct.tolist() == [True, False]
