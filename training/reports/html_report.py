"""A result as one HTML page that opens without a network: its figures, and the questions with their images."""

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
from datasets import Dataset
from markupsafe import Markup

from ..data.views import view_ids_of
from ..evaluation.confidence import confidences_and_verdicts, reliability, risk_coverage_curve
from ..evaluation.extracted_answers import ExtractedPrediction, as_answered
from ..evaluation.metrics import Metrics
from ..evaluation.prediction_rows import Prediction
from ..evaluation.result_files import replace_file
from ..evaluation.results import Interval
from .tables import Table, confidence_notes, extraction_notes, fingerprint_notes
from .thumbnails import thumbnails

# Of more, the first in the page's order are shown: a page stays under 20 MB.
MOST_QUESTIONS = 5000

_LONGEST_TEXT = 1000

_VERDICTS = {False: "wrong", True: "right", None: "not scored"}

# What a question can be filtered by: its name on the page, and the property of a prediction.
_KINDS = {
    "data set": "dataset_name",
    "question type": "question_type",
    "answer type": "answer_type",
    "modality": "modality",
    "organ": "organ",
}


@dataclass(frozen=True)
class Curve:
    """A plot over [0, 100] x [0, 100]: the line, a dashed one to compare with, and what they say."""

    title: str
    caption: str
    across: str
    points: Sequence[tuple[float, float]]
    reference: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Question:
    """One question of the page.

    Attributes:
        row: What was asked and answered.
        verdict: "right", "wrong" or "not scored"; of the answer taken out of a sentence, where that was asked for.
        confidence: Probability of the answer, 0 to 1; None without a score.
        blank: The answer on a blank image; None where nobody asked.
        kinds: Numbers of what it can be filtered by.
        extracted: The answer taken out of the sentence, empty where none was found; None where nobody asked
            for it, or the answer was withheld.
        images: Places of its images among those of the page; None for one that cannot be read.
    """

    row: Prediction
    verdict: str
    confidence: float | None
    blank: str | None
    kinds: Sequence[int]
    extracted: str | None = None
    images: Sequence[int | None] = ()


def write_html_report(
    path: str | Path,
    rows: Sequence[Prediction],
    metrics: Metrics,
    tables: Sequence[Table] = (),
    *,
    images: Dataset | None = None,
    blank: Sequence[Prediction] | None = None,
    trained_on: Sequence[str] = (),
) -> None:
    """Write the page: the figures with their protocol, tables, and the questions, the worst confident errors first.

    Args:
        path: The file to write.
        rows: The answers.
        metrics: Of the answers.
        tables: What can be unfolded below the figures, in the order in which they shall stand.
        images: Rows of the schema, those that `rows` answer; None leaves images out.
        blank: The answers to the same questions on blank images, in the same order; None where nobody asked them.
        trained_on: Names of the data sets that the model learned from; empty where they are not known.

    Raises:
        OSError: As `replace_file`.
    """
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["clipped"] = _clipped
    kinds = _kinds(rows)
    judged = as_answered(rows)
    order = sorted(range(len(rows)), key=lambda place: _badness(judged[place]))[:MOST_QUESTIONS]
    asked = None if images is None else images.select(order)
    small = {} if asked is None else thumbnails(asked)
    readable = {image_id: content for image_id, content in small.items() if content is not None}
    questions = _questions([rows[place] for place in order], kinds, blank and [blank[place] for place in order])
    if asked is not None:
        questions = _with_images(questions, asked, list(readable))
    verdicts = Counter(question.verdict for question in questions)
    page = environment.get_template(f"{Path(__file__).stem}.html").render(
        # Ours, and base64 too holds nothing that could end its element: what is marked so is not escaped.
        style=Markup(Path(__file__).with_suffix(".css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        images=Markup(json.dumps([base64.b64encode(content).decode() for content in readable.values()])),
        unreadable=len(small) - len(readable),
        metrics=metrics,
        images_asked=len({row.image_id for row in rows}),
        facts=_facts(metrics, trained_on),
        groups=_groups(metrics),
        curves=_curves(rows),
        tables=tables,
        notes=[
            *confidence_notes(metrics.confidence),
            *extraction_notes(metrics.extraction),
            *fingerprint_notes(metrics.fingerprint),
        ],
        verdicts={"all": len(questions)} | {name: verdicts[name] for name in _VERDICTS.values() if verdicts[name]},
        kinds=kinds,
        questions=questions,
    )
    replace_file(path, page)


def _with_images(questions: Sequence[Question], asked: Dataset, readable: Sequence[str]) -> list[Question]:
    """The questions with the places of their images among those that the page holds; None where one is not readable."""
    numbers = {image_id: number for number, image_id in enumerate(readable)}
    places = [[numbers.get(image_id) for image_id in image_ids] for image_ids in view_ids_of(asked)]
    return [replace(one, images=images) for one, images in zip(questions, places, strict=True)]


def _questions(
    rows: Sequence[Prediction], kinds: Mapping[str, Mapping[str, int]], blank: Sequence[Prediction] | None
) -> list[Question]:
    """The questions in the order of the rows; the other arguments are as in `_kinds` and the page."""
    return [
        Question(
            row=row,
            verdict=_VERDICTS[answered.correct],
            confidence=None if row.score is None else math.exp(min(row.score, 0.0)),
            extracted=row.extracted or "" if isinstance(row, ExtractedPrediction) and row.prediction else None,
            blank=None if other is None else "withheld" if other.prediction is None else other.prediction,
            kinds=[kinds[name][value] for name, of in _KINDS.items() if (value := getattr(row, of))],
        )
        for row, answered, other in zip(rows, as_answered(rows), blank or [None] * len(rows), strict=True)
    ]


def _clipped(text: object) -> str:
    """What a page shows of a text: all of it, unless it is very long."""
    text = str(text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"


def _badness(row: Prediction) -> tuple[int, float]:
    """Sorts confident errors first, then other errors, then right answers from the least confident on."""
    last = math.inf
    if row.correct is None:
        return 2, 0.0
    if row.correct:
        return 1, last if row.score is None else row.score
    return 0, last if row.score is None else -row.score


def _kinds(rows: Sequence[Prediction]) -> dict[str, dict[str, int]]:
    """By what questions can be filtered: names, their values, and a number for each value, counted through."""
    values = {name: sorted({value for row in rows if (value := getattr(row, of))}) for name, of in _KINDS.items()}
    numbers = iter(range(sum(map(len, values.values()))))
    return {name: {value: next(numbers) for value in of} for name, of in values.items() if of}


def _facts(metrics: Metrics, trained_on: Sequence[str]) -> list[str]:
    """Sentences on the model and on what was done to the images."""
    facts = []
    run = metrics.run
    if trained_on:
        counts = {} if run is None or run.training_rows is None else run.training_rows
        named = [f"{name} ({counts[name]:,} questions)" if name in counts else name for name in trained_on]
        facts.append(f"The model was trained on {', '.join(named)}.")
    if run is not None and run.refit:
        facts.append("It was trained on the questions of the validation split too.")
    if run is not None and run.ablate_image is not None:
        facts.append(f"The real images were replaced (--ablate_image {run.ablate_image}); below stand what was shown.")
    return facts


def _groups(metrics: Metrics) -> dict[str, Mapping[str, Interval | None]]:
    """By title the figures of one table; without those that hold none."""
    scores, grounding = metrics.scores, metrics.grounding
    if scores.overall is None:
        return {}
    baselines = {f"no image: {name.replace('_', ' ')}": result for name, result in metrics.baselines.items()}
    above = {"question only": metrics.above_question_only, "question and kind": metrics.above_question_and_kind}
    extraction = (
        {} if metrics.extraction is None else {"answers taken out of sentences": metrics.extraction.scores.overall}
    )
    judged = {} if metrics.judge is None else {f"judge's scores, {metrics.judge.column}": metrics.judge.mean}
    points = {f"points above {name}": result for name, result in above.items() if result is not None}
    further = {"BLEU-1": metrics.text_overlap.bleu1, "token F1": metrics.text_overlap.token_f1}
    if metrics.vqa_med is not None:
        further |= {"VQA-Med strict": metrics.vqa_med.strict_accuracy, "VQA-Med BLEU": metrics.vqa_med.bleu}
    if metrics.consistency is not None:
        further["agreement of wordings"] = metrics.consistency.agreement
    seen = {}
    if grounding is not None:
        seen = {
            "real images": grounding.real,
            "blank images": grounding.blank,
            "shuffled images": grounding.shuffled_mean,
            "answers changed by blanking": grounding.changed_by_blank,
            "answers changed by shuffling": grounding.changed_by_shuffling,
            "visual reliance, points": grounding.visual_reliance,
        }
    groups = {
        "Right answers, and those of systems that see no image": {
            "this result": scores.overall,
            **extraction,
            **judged,
            **baselines,
            **points,
        },
        "Does it look at the image?": {label: result for label, result in seen.items() if result is not None},
        "By data set": scores.by_dataset,
        "By answer type, as the data say": scores.by_answer_type,
        "By answer type: closed is yes or no": scores.by_yes_no,
        "By question type": scores.by_question_type,
        "By modality": scores.by_modality,
        "By organ": scores.by_organ,
        "Further measures": further,
    }
    return {title: results for title, results in groups.items() if results}


def _curves(rows: Sequence[Prediction]) -> list[Curve]:
    """Risk against coverage, and calibration; none where no answer has both a score and a reference."""
    confidences, correct = confidences_and_verdicts(rows)
    if not len(confidences):
        return []
    coverages, risks = risk_coverage_curve(confidences, correct)
    wrong = 100 * float(1 - correct.mean())
    return [
        Curve(
            "If only the most confident answers count.",
            "Wrong answers in %, by the share of answers that are given; dashed: all answers.",
            "answers given in %",
            list(zip((100 * coverages).tolist(), (100 * risks).tolist(), strict=True)),
            [(0, wrong), (100, wrong)],
        ),
        Curve(
            "Does its confidence say how often it is right?",
            "Right answers in %, by confidence; dashed: calibrated.",
            "confidence in %",
            [(100 * one.confidence, 100 * one.accuracy) for one in reliability(confidences, correct)],
            [(0, 0), (100, 100)],
        ),
    ]
