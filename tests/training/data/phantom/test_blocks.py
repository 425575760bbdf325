from collections import Counter

import numpy as np
import pytest
from phantom_rows import answers_by, columns

from amif.training.data.phantom.datasets import load_phantom_vqa
from amif.training.data.phantom.findings import FINDINGS
from amif.training.data.phantom.studies import MODALITIES, ORGANS, PLANES

SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_is_balanced(vqa, split):
    counts = answers_by(vqa[split], "template")
    for template, answers in counts.items():
        if "yes" in answers or "no" in answers:
            assert answers["yes"] == answers["no"], template
    assert set(counts["what imaging modality is this?"].values()) == {len(set(vqa[split]["image_id"])) // 3}
    assert len(set(counts["in what plane is this image?"].values())) == 1
    assert len(set(counts["what region of the body is shown?"].values())) == 1
    assert set(counts["what abnormality is shown?"]) == {*FINDINGS, "none"}
    assert len(set(counts["what abnormality is shown?"].values())) == 1
    for finding in FINDINGS:
        sides = counts[f"on which side is the {finding}?"]
        assert sides["left"] == sides["right"] > 0
        sizes = counts[f"how large is the {finding}?"]
        assert abs(sizes["small"] - sizes["large"]) <= 1


def test_closed_answers_are_balanced_in_an_unround_set():
    vqa = load_phantom_vqa(num_studies=1000, image_size=16)
    for split in SPLITS:
        counts = Counter(vqa[split]["answer"])
        assert 0.47 <= counts["yes"] / (counts["yes"] + counts["no"]) <= 0.53


def test_question_alone_gives_little_away(vqa):
    for name in ("template", "question"):
        majority = {key: counts.most_common(1)[0][0] for key, counts in answers_by(vqa["train"], name).items()}
        hits = [majority.get(key) == answer for key, answer in columns(vqa["test"], name, "answer")]
        assert 0.35 < np.mean(hits) < 0.46


@pytest.mark.parametrize("split", SPLITS)
def test_every_truth_value_in_every_split(vqa, split):
    counts = answers_by(vqa[split], "question_type")
    assert set(counts["modality"]) >= set(MODALITIES)
    assert set(counts["plane"]) == set(PLANES)
    assert set(counts["organ"]) == set(ORGANS)
    assert set(counts["abnormality"]) >= set(FINDINGS)
