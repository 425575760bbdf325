from amif.training.data import names
from amif.training.data.pretraining_dataset import PAIR_READERS
from amif.training.data.vqa_dataset import READERS


def test_every_named_set_has_a_reader():
    assert tuple(READERS) == names.VQA_SETS
    assert tuple(PAIR_READERS) == names.PAIR_SETS
