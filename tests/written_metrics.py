"""Metrics of a result, as an evaluation gives them, for the tests of what is written of them."""

from amif.training.evaluation.fingerprint import Fingerprint, Normalizer
from amif.training.evaluation.grouped_accuracy import Scores
from amif.training.evaluation.metrics import Metrics
from amif.training.evaluation.results import Interval
from amif.training.evaluation.text_overlap import TextOverlap

METRICS = Metrics(
    protocol="paper",
    protocol_note="The candidates are the test answers.",
    dataset="slake",
    split="test",
    scores=Scores(
        n=4,
        unscored=1,
        withheld=0,
        overall=Interval(66.67, 30.0, 90.0, 3),
        by_answer_type={"closed": Interval(100.0, 100.0, 100.0, 1), "open": Interval(50.0, 0.0, 100.0, 2)},
        by_yes_no={"closed": Interval(99.0, 98.0, 100.0, 1)},
        by_question_type={},
        by_modality={},
        by_organ={},
        by_dataset={},
    ),
    text_overlap=TextOverlap(bleu1=None, token_f1=None),
    vqa_med=None,
    confidence=None,
    consistency=None,
    baselines={"question_only": Interval(41.0, 30.0, 50.0, 3)},
    baselines_note=None,
    above_question_only=Interval(25.67, -5.0, 50.0, 3, "difference"),
    above_question_and_kind=None,
    fingerprint=Fingerprint(
        answer_type_counts={"closed": 1, "open": 2},
        yes_no_counts={"closed": 1, "open": 2},
        questions_sha256="0123456789abcdef",
        normalizer=Normalizer("normalize_answer", "fedcba9876543210"),
        versions={"amif": "0.1.0"},
        protocol="paper",
        seed=42,
        command="run_vqa.py --protocol paper",
    ),
)
