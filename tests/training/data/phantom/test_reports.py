from collections import defaultdict

import numpy as np

from amif.training.data.phantom.blocks import make_studies
from amif.training.data.phantom.findings import FINDINGS
from amif.training.data.phantom.reports import write_report


def test_reports_tell_the_truth_and_nearly_repeat_each_other(pretraining):
    texts = defaultdict(set)
    for row in pretraining["train"]:
        report = row["text"].lower()
        assert row["modality"] in report
        assert row["plane"] in report
        assert row["organ"] in report
        found = {finding for finding in FINDINGS if finding in report}
        assert found == ({row["finding"]} if row["finding"] else set())
        assert {side for side in ("left", "right") if f"on the {side}" in report} == ({row["side"]} - {None})
        assert {size for size in ("small", "large") if f"{size} " in report} == ({row["size"]} - {None})
        texts[row["finding"] is None].add(row["text"])
    words = [frozenset(text.lower().split()) for text in texts[True]]
    nearest = [max(len(a & b) / len(a | b) for b in words if b != a) for a in words]
    assert np.mean(nearest) > 0.6


def test_reports_that_repeat_word_for_word():
    for split, repeated in (("train", 30), ("test", 3)):
        texts = [write_report(study) for study in make_studies(split, 1000, seed=0)]
        assert len(texts) - len(set(texts)) == repeated


def test_what_can_be_seen_nearly_tells_the_report():
    studies = make_studies("test", 1000, seed=0)
    rng = np.random.default_rng(0)
    recalls = []
    for _ in range(20):
        chosen = [studies[place] for place in rng.choice(len(studies), 64, replace=False)]
        facts = [(s.modality, s.plane, s.organ, s.finding, s.side, s.size) for s in chosen]
        texts = [write_report(study) for study in chosen]
        for fact, text in zip(facts, texts, strict=True):
            alike = [other for other, same in zip(texts, facts, strict=True) if same == fact]
            recalls.append(alike.count(text) / len(alike))
    assert 0.85 < np.mean(recalls) < 0.90
