import numpy as np
import pytest
from small_evaluations import table

from amif.training.data.image_overlap import ImagePrints
from amif.training.evaluation.audit import audit_pair, audit_splits
from amif.training.reports.audit_tables import audit_table, pair_table


@pytest.fixture
def no_images():
    """Makes prints of images by their ids, with nothing to compare them by."""

    def prints(*ids):
        hashes = np.random.default_rng(0).integers(2**63, size=len(ids), dtype=np.uint64)
        return ImagePrints(list(ids), [""] * len(ids), hashes, np.zeros((len(ids), 4096), dtype=np.float32))

    return prints


def test_tables_of_what_was_found(no_images):
    train = table(("q1", "a", "Is it?", "yes", None, None), ("q2", "b", "Where?", "left", None, None))
    test = table(("q3", "a", "is it", "no", None, None), ("q4", "c", "Where?", "right", None, None))
    prints = {"train": no_images("a", "b"), "test": no_images("a", "c")}
    cells = dict(audit_table(audit_splits({"train": train, "test": test}, prints), "own").rows)
    assert cells["images shared by id, train/test"] == "1"
    assert cells["conflicting answers"] == "1"
    assert cells["unseen answers of 2 evaluated"] == "2"
    assert cells["train: questions, images, with answer"] == "2, 2, 2"
    pair = audit_pair({"train": no_images("a")}, prints, ("other", "own"))
    assert dict(pair_table(pair, "own", "other").rows)["images shared by id, other train/own train"] == "1"
