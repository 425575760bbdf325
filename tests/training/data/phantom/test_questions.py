from collections import Counter, defaultdict

import numpy as np
from phantom_rows import columns

from amif.training.data.phantom.blocks import make_studies
from amif.training.data.phantom.questions import WORDINGS


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
