import pytest
from small_evaluations import table

from amif.training.evaluation.grounding import grounding
from amif.training.evaluation.prediction_rows import prediction_rows
from amif.training.evaluation.results import Interval

ANSWERS = ["yes", "no", "left", "liver"]
DATASET = table(*((str(row), f"image {row // 2}", "?", answer, None, None) for row, answer in enumerate(ANSWERS)))


def answered(*predictions):
    return prediction_rows(DATASET, predictions)


def test_hand_worked_case():
    result = grounding(
        answered("yes", "no", "left", "heart"),
        answered("yes", "yes", "right", "heart"),
        [answered("yes", "no", "right", "heart"), answered("no", "no", "Right.", "liver")],
    )
    assert result.real.value == 75.0
    assert result.blank.value == 25.0
    assert [shuffle.value for shuffle in result.shuffled] == [50.0, 50.0]
    assert result.shuffled_mean.value == 50.0
    assert result.changed_by_blank.value == 50.0
    assert result.changed_by_shuffling.value == 50.0  # 1 of 4 answers, then 3 of 4
    assert result.visual_reliance.value == 25.0
    # image 0 gives (0 + 1/2) / 2, image 1 gives (1 - 1/2) / 2, so every draw gives 25
    assert result.visual_reliance.ci95 == (25.0, 25.0)


def test_among_alike_by_modality_and_question_type():
    # Images 0 and 1 are of one kind and exchanged; image 2 is alone of its kind and missing.
    columns = {"modality": ["CT", "CT", "MRI", "MRI", "CT", "CT"], "question_type": ["a", "b", "a", "b", "a", None]}
    rows = [(str(row), f"image {row // 2}", "?", "yes", None, columns["question_type"][row]) for row in range(6)]
    dataset = table(*rows).add_column("modality", columns["modality"])
    real = prediction_rows(dataset, ["yes", "yes", "yes", "no", "yes", "yes"])
    shuffles = [
        prediction_rows(dataset.select(range(4)), answers)
        for answers in (["yes", "no", "yes", "no"], ["no", "no", "yes", "no"])
    ]
    result = grounding(real, None, [], shuffles).among_alike
    assert result.real == Interval(75.0, 50.0, 100.0, 4)
    assert result.shuffled_mean.value == 37.5  # 1/2, 0, 1, 0
    assert result.visual_reliance.value == 37.5
    assert {name: group.value for name, group in result.by_modality.items()} == {"CT": 75.0, "MRI": 0.0}
    assert result.alike_in == ["modality"]
    types = result.by_question_type
    assert {name: group.value for name, group in types.items()} == {"a": 25.0, "b": 50.0}
    assert types["a"].n == types["b"].n == 2
    with pytest.raises(ValueError, match="4 questions on the real images, 3 on others"):
        grounding(real, None, [], [shuffles[0], shuffles[1][:3]])


def test_a_system_that_does_not_look_has_no_visual_reliance():
    same = answered("yes", "no", "right", "heart")
    result = grounding(same, same, [same, same, same])
    assert result.visual_reliance.value == 0.0
    assert result.changed_by_blank.value == result.changed_by_shuffling.value == 0.0


def test_without_references_changes_are_still_counted():
    unknown = table(*((str(row), "a", "?", None, None, None) for row in range(4)))
    real, other = prediction_rows(unknown, ANSWERS), prediction_rows(unknown, ["yes", "yes", "left", "liver"])
    result = grounding(real, None, [other])
    assert result.changed_by_shuffling.value == 25.0
    assert result.real is result.blank is result.visual_reliance is result.shuffled_mean is None


def test_answers_to_other_questions_are_refused():
    real = answered(*ANSWERS)
    with pytest.raises(ValueError, match="4 questions on the real images, 3 on others"):
        grounding(real, real[:3], [])
    with pytest.raises(ValueError, match="same order"):
        grounding(real, None, [real[::-1]])
