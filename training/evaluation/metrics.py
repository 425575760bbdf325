"""The content of `metrics.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .baselines import chance
from .confidence import ConfidenceMeasures, confidence_measures
from .consistency import Consistency, consistency
from .extracted_answers import Extraction
from .fingerprint import Fingerprint
from .grounding import Grounding
from .grouped_accuracy import Scores, accuracy_with_interval, mean_with_interval, score_rows
from .judge import JudgeScores
from .knowledge_selection import KnowledgeSelection
from .prediction_rows import Prediction
from .protocols import protocol_note
from .results import Interval, Result
from .significance import Comparison
from .system_comparison import SystemComparison
from .text_overlap import TextOverlap, text_overlap
from .vqa_med import VqaMedMeasures, vqa_med_measures

# What stands in metrics.json only where somebody asked for it.
_ASKED_FOR = ("comparison", "comparisons", "grounding", "knowledge", "extraction", "judge", "baselines_note")


@dataclass(frozen=True)
class RunFacts(Result):
    """What a run that answered did beside what its protocol says.

    Attributes:
        ablate_image: What stood in place of the images, "blank" or "shuffle"; None where the real ones were shown.
        refit: Whether the model was trained on the questions of the validation split too.
        training_rows: Questions that it was trained on, by data set; None where there is one, or none was.
        model: The chat model that answered; None of models of ours.
        prompt: What it was asked, a template.
    """

    ablate_image: str | None
    refit: bool
    training_rows: Mapping[str, int] | None = None
    model: str | None = None
    prompt: str | None = None

    def json_fields(self) -> Mapping[str, object]:
        """The fields by name; of the last three those that there are."""
        optional = ("training_rows", "model", "prompt")
        return {
            name: value for name, value in super().json_fields().items() if value is not None or name not in optional
        }


@dataclass(frozen=True)
class Metrics(Result):
    """What was evaluated and how, every measure of it, and the fingerprint.

    Attributes:
        protocol: "clean", "paper", "choices", "generate" or "unstated".
        protocol_note: The sentence to print beside every number of the protocol.
        dataset: Name or path of the data.
        split: The evaluated split.
        scores: Accuracies, overall and by group.
        text_overlap: Overlap of words.
        vqa_med: VQA-Med-2019's measures; None for other data.
        confidence: None where no answer has both a score and a reference.
        consistency: None where no question has two wordings.
        baselines: Accuracy of systems that see no image.
        baselines_note: What to print beside them where they learn from the evaluated questions; else None.
        above_question_only: Overall accuracy less that of the baseline, in percentage points with the interval of the
            paired difference; None without the baseline.
        above_question_and_kind: Likewise.
        fingerprint: What two results must share to be comparable.
        comparison: With another system; None where there is none, or more than one.
        comparisons: With any number of systems; None where there is none.
        grounding: None where nobody asked about other images.
        knowledge: None where nobody asked what the model selects of its knowledge.
        run: None where the answers came in a file.
        extraction: What taking the answers out of sentences gave; None where nobody asked for it.
        judge: Scores that somebody else's judge gave; None where there are none.
    """

    protocol: str
    protocol_note: str
    dataset: str
    split: str
    scores: Scores
    text_overlap: TextOverlap
    vqa_med: VqaMedMeasures | None
    confidence: ConfidenceMeasures | None
    consistency: Consistency | None
    baselines: dict[str, Interval | None]
    baselines_note: str | None
    above_question_only: Interval | None
    above_question_and_kind: Interval | None
    fingerprint: Fingerprint
    comparison: Comparison | None = None
    comparisons: SystemComparison | None = None
    grounding: Grounding | None = None
    knowledge: KnowledgeSelection | None = None
    run: RunFacts | None = None
    extraction: Extraction | None = None
    judge: JudgeScores | None = None

    @property
    def protocol_line(self) -> str:
        """The protocol and its note, to stand once beside the numbers."""
        line = f"Protocol {self.protocol}: {self.protocol_note}"
        if self.extraction is None:
            return line
        taken = f"Extracted: answers taken out of sentences, which may name {self.extraction.candidates}."
        return f"{line} {taken}"

    def json_fields(self) -> Mapping[str, object]:
        """The fields by name; those of `scores` and `run` stand among them, what was not asked for is left out."""
        content: dict[str, object] = {}
        for name, value in super().json_fields().items():
            if name in ("scores", "run"):
                content |= value.json_fields() if isinstance(value, Result) else {}
            elif value is not None or name not in _ASKED_FOR:
                content[name] = value
            if name == "scores" and self.extraction is not None:
                content["overall_extracted"] = self.extraction.scores.overall
        return content


def build_metrics(
    rows: Sequence[Prediction],
    *,
    protocol: str,
    dataset_name: str,
    split: str,
    baselines: Mapping[str, Sequence[Prediction]],
    fingerprint: Fingerprint,
    baselines_note: str | None = None,
    abstention_threshold: float | None = None,
) -> Metrics:
    """Measure the answers to a split's questions.

    Args:
        rows: The answers.
        protocol: "clean", "paper", "choices", "generate" or "unstated"; its note stands beside it. Of "choices" chance
            is one of the baselines.
        dataset_name: Name or path of the data.
        split: The evaluated split.
        baselines: `baseline_rows` of the same questions, empty where there is nothing to learn them from.
        fingerprint: `evaluation_fingerprint` of the same rows.
        baselines_note: What `split_baselines` says of them.
        abstention_threshold: The score below which answers would be withheld, as chosen on validation.

    Raises:
        ValueError: If the protocol is unknown, or a baseline is of other questions.
    """
    return Metrics(
        protocol=protocol,
        protocol_note=protocol_note(protocol),
        dataset=dataset_name,
        split=split,
        scores=score_rows(rows),
        text_overlap=text_overlap(rows, dataset_name),
        vqa_med=vqa_med_measures(rows) if dataset_name == "vqa_med_2019" else None,
        confidence=confidence_measures(rows, abstention_threshold),
        consistency=consistency(rows),
        baselines_note=baselines_note,
        baselines={
            **({"chance": chance(rows)} if protocol == "choices" else {}),
            **{name: accuracy_with_interval(answers) for name, answers in baselines.items()},
        },
        above_question_only=_above_baseline(rows, baselines.get("question_only")),
        above_question_and_kind=_above_baseline(rows, baselines.get("question_and_kind")),
        fingerprint=fingerprint,
    )


def _above_baseline(rows: Sequence[Prediction], others: Sequence[Prediction] | None) -> Interval | None:
    if others is None:
        return None
    if [row.question_id for row in rows] != [row.question_id for row in others]:
        raise ValueError("A baseline must answer the same questions in the same order.")
    pairs = [(row.correct, other.correct) for row, other in zip(rows, others, strict=True)]
    points = [None if right is None or other is None else float(right - other) for right, other in pairs]
    return mean_with_interval(rows, points, "difference")
