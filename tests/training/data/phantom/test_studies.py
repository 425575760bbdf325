from collections import defaultdict

import numpy as np
import pytest

from amif.training.data.phantom.blocks import make_studies
from amif.training.data.phantom.findings import FINDINGS


@pytest.mark.parametrize("view", [0, 1])
def test_finding_changes_the_image_in_its_box_alone(view):
    for study in make_studies("train", 144, seed=1):
        with_finding, box = study.draw(view, 96)
        without, no_box = study.draw(view, 96, with_finding=False)
        assert no_box is None
        if study.finding is None:
            assert box is None
            assert (with_finding == without).all()
            continue
        x0, y0, x1, y1 = box
        assert 0 <= x0 < x1 <= 96
        assert 0 <= y0 < y1 <= 96
        difference = np.abs(with_finding.astype(int) - without.astype(int))
        assert difference[y0:y1, x0:x1].mean() > 10, study
        difference[y0:y1, x0:x1] = 0
        assert difference.max() == 0, study


def test_side_follows_the_radiological_convention():
    studies = [study for study in make_studies("train", 144, seed=2) if study.side]
    assert {study.side for study in studies} == {"left", "right"}
    for study in studies:
        x0, _, x1, _ = study.draw(0, 96)[1]
        assert ((x0 + x1) / 2 > 48) == (study.side == "left"), study
    assert all(study.side is None for study in make_studies("train", 144, seed=2) if study.plane == "sagittal")


def test_sizes_do_not_overlap():
    lengths = defaultdict(list)
    for study in make_studies("train", 720, seed=0):
        if study.finding:
            x0, y0, x1, y1 = study.draw(0, 96)[1]
            lengths[study.finding, study.size].append(max(x1 - x0, y1 - y0))
    for finding in FINDINGS:
        assert 1.4 * max(lengths[finding, "small"]) < min(lengths[finding, "large"]), finding


def test_images_of_another_size():
    study = next(study for study in make_studies("train", 72, seed=0) if study.finding == "mass")
    small, small_box = study.draw(0, 48)
    large, large_box = study.draw(0, 192)
    assert small.shape == (48, 48)
    assert large.shape == (192, 192)
    assert np.abs(np.array(small_box) * 4 - np.array(large_box)).max() <= 6


def test_two_views_of_one_anatomy(pretraining):
    same, other = [], []
    for row, next_row in zip(pretraining["train"], pretraining["train"].select(range(1, 84)), strict=False):
        first, second, foreign = (np.asarray(image, dtype=float) for image in [*row["images"], next_row["images"][1]])
        assert first.shape == second.shape == (96, 96)
        assert (first != second).mean() > 0.2
        same.append(np.corrcoef(first.ravel(), second.ravel())[0, 1])
        other.append(np.corrcoef(first.ravel(), foreign.ravel())[0, 1])
        assert [box is None for box in row["box"]] == [row["finding"] is None] * 2
    assert np.mean(same) > 0.6
    assert np.mean(same) > np.mean(other) + 0.2
