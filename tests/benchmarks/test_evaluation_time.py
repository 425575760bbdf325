"""What an evaluation costs beside the model: baselines, right and wrong, and all measures of 6,000 answers.

pytest -m slow -n 0 -s tests/benchmarks/test_evaluation_time.py
"""

import random
import time

import pytest
from datasets import Dataset

from amif.training.data.schema import build_vqa_dataset
from amif.training.evaluation.baselines import baseline_rows
from amif.training.evaluation.fingerprint import evaluation_fingerprint
from amif.training.evaluation.metrics import build_metrics
from amif.training.evaluation.prediction_rows import prediction_rows

pytestmark = pytest.mark.slow

TRAINING, EVALUATED = 24_000, 6_000
ORGANS = ("lung", "liver", "brain", "knee", "heart", "spine")


def questions(number: int, seed: int) -> Dataset:
    """Questions of 40 wordings about a fifth as many images, whose answers are 60."""
    chance = random.Random(seed)
    rows = []
    for place in range(number):
        organ, asked = chance.choice(ORGANS), chance.randrange(40)
        answers = ("yes", "no") if asked % 2 else tuple(f"left {organ} {size} cm" for size in range(10))
        image = f"{seed} {place // 5}"
        row = {"image": "image.png", "question": f"Question {asked}: is there a mass in the {organ}?"}
        row |= {"answer": chance.choice(answers), "answer_type": "open", "question_type": f"kind {asked % 8}"}
        rows.append(row | {"image_id": image, "question_id": f"{seed} {place}", "modality": "ct", "organ": organ})
    return build_vqa_dataset(rows, ["modality", "organ"])


def test_measuring_many_answers():
    training, evaluated = questions(TRAINING, 0), questions(EVALUATED, 1)
    chance = random.Random(2)
    answers = [answer if chance.random() < 0.7 else "no" for answer in evaluated["answer"][:]]
    scores = [-chance.random() for _ in answers]
    started = time.process_time()
    baselines = baseline_rows(training, evaluated)
    rows = prediction_rows(evaluated, answers, scores)
    measuring = time.process_time()
    metrics = build_metrics(
        rows,
        protocol="clean",
        dataset_name="own",
        split="test",
        baselines=baselines,
        fingerprint=evaluation_fingerprint(rows, protocol="clean", seed=0, command="-"),
    )
    ended = time.process_time()
    print(f"\nbaselines and rows: {measuring - started:.2f} s of CPU; measures: {ended - measuring:.2f} s")
    print({name: value and value.value for name, value in metrics.baselines.items()}, metrics.text_overlap)
