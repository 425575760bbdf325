from amif.training.experiments.arms import ARMS, LABELS
from amif.training.pretraining.objectives import OBJECTIVES


def test_every_arm_has_a_label_and_an_objective():
    assert list(LABELS) == list(ARMS)
    assert {stage["objective"] for stages in ARMS.values() for stage in stages} == {*OBJECTIVES}
