from collections import Counter, defaultdict

import datasets
import numpy as np
import pytest

from amif.training.data.phantom.blocks import make_studies
from amif.training.data.phantom.datasets import load_phantom_pretraining, load_phantom_vqa, phantom_vqa_sentences
from amif.training.data.phantom.findings import FINDINGS
from amif.training.data.phantom.questions import WORDINGS
from amif.training.data.phantom.reports import write_report
from amif.training.data.phantom.studies import MODALITIES, ORGANS, PLANES

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def vqa() -> datasets.DatasetDict:
    return load_phantom_vqa(num_studies=360)


@pytest.fixture(scope="module")
def pretraining() -> datasets.DatasetDict:
    return load_phantom_pretraining(num_studies=120)


def columns(split: datasets.Dataset, *names: str) -> list[tuple]:
    return list(zip(*(split[name] for name in names), strict=True))


def answers_by(split: datasets.Dataset, name: str) -> dict[str, Counter]:
    counts = defaultdict(Counter)
    for key, answer in columns(split, name, "answer"):
        counts[key][answer] += 1
    return counts


def image_bytes(split: datasets.Dataset) -> list[bytes]:
    return [image["bytes"] for image in split.cast_column("image", datasets.Image(decode=False))["image"]]


def test_schema(vqa):
    row = vqa["train"][0]
    assert row["image"].size == (96, 96)
    assert row["image"].mode == "L"
    expected = "image question answer answer_type question_type image_id question_id template modality organ box"
    assert set(vqa["test"].column_names) == set(expected.split())
    assert isinstance(vqa["test"].features["image"], datasets.Image)
    for split in SPLITS:
        for answer, answer_type in columns(vqa[split], "answer", "answer_type"):
            assert answer == answer.lower().strip()
            assert answer_type == ("closed" if answer in ("yes", "no") else "open")


def test_same_seed_same_bytes():
    first, again, other = (load_phantom_vqa(num_studies=12, seed=seed)["train"] for seed in (3, 3, 4))
    assert image_bytes(first) == image_bytes(again)
    assert first.remove_columns("image").to_list() == again.remove_columns("image").to_list()
    assert not set(image_bytes(first)) & set(image_bytes(other))


def test_smaller_set_is_part_of_larger():
    small, large = load_phantom_vqa(num_studies=20), load_phantom_vqa(num_studies=60)
    for split in SPLITS:
        count = len(small[split])
        assert count < len(large[split])
        assert image_bytes(small[split]) == image_bytes(large[split].select(range(count)))
        assert small[split]["question"] == large[split]["question"][:count]


def test_splits_share_no_study_and_no_image(vqa):
    ids = {split: set(vqa[split]["image_id"]) for split in SPLITS}
    assert {split: len(ids[split]) for split in SPLITS} == {"train": 252, "validation": 36, "test": 72}
    images = {split: set(image_bytes(vqa[split])) for split in SPLITS}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not ids[one] & ids[other]
        assert not images[one] & images[other]
    question_ids = [question_id for split in SPLITS for question_id in vqa[split]["question_id"]]
    assert len(question_ids) == len(set(question_ids))


def test_both_loaders_split_alike(vqa):
    reports = load_phantom_pretraining(num_studies=360, image_size=16)
    for split in SPLITS:
        assert set(reports[split]["study_id"]) == set(vqa[split]["image_id"])


def test_vqa_sentences_are_those_of_the_training_questions(vqa):
    pairs = columns(vqa["train"], "question", "answer")
    assert phantom_vqa_sentences(num_studies=360) == [text for pair in pairs for text in pair]


def test_too_few_studies():
    with pytest.raises(ValueError, match="at least 3 studies"):
        load_phantom_vqa(num_studies=2)
    assert all(len(split) for split in load_phantom_vqa(num_studies=3).values())


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


def test_questions_per_image_and_rephrasings(vqa):
    per_image = Counter(vqa["train"]["image_id"])
    assert min(per_image.values()) >= 5
    assert 7 <= np.mean(list(per_image.values())) <= 9
    wordings = defaultdict(set)
    for template, question in columns(vqa["train"], "template", "question"):
        wordings[template].add(question)
    assert all(len(texts) == 3 for template, texts in wordings.items() if not template.startswith("is the "))
    assert all(len(texts) >= 3 for texts in WORDINGS.values())
    assert not any(set(WORDINGS[one]) & set(WORDINGS[other]) for one in WORDINGS for other in WORDINGS if one != other)


def test_one_image_answers_a_question_in_one_way(vqa):
    answers = defaultdict(set)
    for image_id, template, answer in columns(vqa["train"], "image_id", "template", "answer"):
        answers[image_id, template].add(answer)
    assert all(len(found) == 1 for found in answers.values())


def test_answers_agree_with_the_truth():
    for study in make_studies("test", 180, seed=0):
        for question in study.questions:
            words = question.template
            expected = {
                "modality": study.modality,
                "plane": study.plane,
                "organ": study.organ,
                "abnormality": study.finding or "none",
                "position": study.side,
                "size": study.size,
                "normality": "no" if study.finding else "yes",
                "presence": "yes" if study.finding and f" {study.finding}?" in words else "no",
                "is_modality": "yes" if f" {study.modality}?" in words else "no",
                "is_position": "yes" if f"on the {study.side}?" in words else "no",
            }[question.kind]
            assert question.answer == expected, (study, question)
            if question.kind in ("position", "is_position", "size"):
                assert study.finding in words


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
