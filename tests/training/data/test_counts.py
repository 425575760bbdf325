import pytest

from amif.training.data import counts


def test_equal_counts_pass_silently(monkeypatch):
    monkeypatch.setattr(counts.logger, "warning", pytest.fail)
    counts.compare_counts("set", {"train": 3, "test": 1}, {"train": 3, "test": 1}, strict=True)
    counts.compare_counts("set", {"train": 3, "extra": 1}, {"train": 3}, strict=False)


def test_differences_are_logged_or_raised(monkeypatch):
    said = []
    monkeypatch.setattr(counts.logger, "warning", said.append)
    found, published = {"train": 2999}, {"train": 3064, "test": 451}
    counts.compare_counts("vqa_rad", found, published, strict=False)
    assert said == ["vqa_rad train: 2999 rows, published 3064", "vqa_rad test: 0 rows, published 451"]
    with pytest.raises(ValueError, match="2999 rows, published 3064; vqa_rad test: 0 rows"):
        counts.compare_counts("vqa_rad", found, published, strict=True)
