"""Results as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..evaluation.auroc import MeanAuroc
from ..evaluation.classification import ClassificationMetrics
from ..evaluation.confidence import ConfidenceMeasures
from ..evaluation.extracted_answers import Extraction
from ..evaluation.fingerprint import Fingerprint
from ..evaluation.grounding import Grounding
from ..evaluation.grouped_accuracy import Scores
from ..evaluation.knowledge_selection import KnowledgeSelection
from ..evaluation.metrics import Metrics
from ..evaluation.results import Interval
from ..evaluation.retrieval import RetrievalMetrics
from ..evaluation.significance import Comparison
from ..evaluation.system_comparison import SystemComparison


@dataclass(frozen=True)
class Table:
    """Cells to print: a title, a header, rows of as many cells, and notes below. The first column holds labels."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def plain_text(table: Table) -> str:
    """The table in aligned columns of plain text."""
    lines = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [table.title]
    for label, *cells in lines:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        text.append("  ".join([label.ljust(widths[0]), *numbers]))
    return "\n".join([*text, *table.notes])


def markdown_text(table: Table) -> str:
    """The table in Markdown, its title above and its notes below."""
    lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *table.rows]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return "\n\n".join([f"**{table.title}**", body, *table.notes]) + "\n"


def format_table(metrics: Metrics) -> str:
    """Plain-text table of metrics: a line a figure with its interval and number of questions.

    Below it those of their grounding and of what the model selects of its knowledge, where these were measured.
    """
    tables = [metrics_table(metrics)]
    if metrics.grounding is not None:
        tables.append(grounding_table(metrics.grounding))
    if metrics.knowledge is not None:
        tables.append(knowledge_table(metrics.knowledge))
    return "\n\n".join(map(plain_text, tables))


def metrics_table(metrics: Metrics) -> Table:
    """The table of metrics. A dash stands where nothing could be scored.

    The notes say what the protocol allows, and give the fingerprint that two results must share to be comparable.
    """
    extraction = metrics.extraction
    extracted = [] if extraction is None else _labelled_scores(extraction.scores)
    beside = {label: interval_cells(label, result)[1:3] for label, result in extracted}
    blank = () if extraction is None else ("", "")
    return Table(
        f"{metrics.dataset}, {metrics.split}: {metrics.scores.n} questions, {metrics.scores.unscored} not scored",
        (
            "accuracy in %",
            "value",
            "95 % interval",
            "n",
            *([] if extraction is None else ["extracted", "95 % interval"]),
        ),
        [(*interval_cells(*labelled), *beside.get(labelled[0], blank)) for labelled in _labelled_results(metrics)],
        [
            *confidence_notes(metrics.confidence),
            metrics.protocol_line,
            *extraction_notes(metrics.extraction),
            *([] if metrics.baselines_note is None else [metrics.baselines_note]),
            *fingerprint_notes(metrics.fingerprint),
        ],
    )


def interval_cells(label: str, result: Interval | MeanAuroc | None) -> tuple[str, str, str, str]:
    """Label, value, interval and n; dashes for what there is not."""
    if result is None:
        return label, "-", "-", "0"
    if result.ci95 is None:
        return label, f"{result.value:.2f}", "-", str(result.n)
    low, high = result.ci95
    separator = "to" if low < 0 else "-"
    return label, f"{result.value:.2f}", f"{low:.2f} {separator} {high:.2f}", str(result.n)


def _labelled_scores(scores: Scores) -> list[tuple[str, Interval | None]]:
    return [
        ("overall", scores.overall),
        *((f"data set {name}", result) for name, result in scores.by_dataset.items()),
        *((f"{name} (answer_type)", result) for name, result in scores.by_answer_type.items()),
        *((f"{name} (yes/no answer)", result) for name, result in scores.by_yes_no.items()),
        *((f"question type {name}", result) for name, result in scores.by_question_type.items()),
        *((f"modality {name}", result) for name, result in scores.by_modality.items()),
        *((f"organ {name}", result) for name, result in scores.by_organ.items()),
    ]


def _labelled_results(metrics: Metrics) -> list[tuple[str, Interval | None]]:
    scores, overlap = metrics.scores, metrics.text_overlap
    labelled = [
        *_labelled_scores(scores),
        *([] if metrics.judge is None else [(f"judge's scores, {metrics.judge.column}", metrics.judge.mean)]),
        ("BLEU-1", overlap.bleu1),
        ("token F1", overlap.token_f1),
    ]
    if metrics.vqa_med is not None:
        labelled += [
            ("VQA-Med strict accuracy", metrics.vqa_med.strict_accuracy),
            ("VQA-Med bleu", metrics.vqa_med.bleu),
        ]
    if metrics.consistency is not None:
        labelled.append(("agreement of wordings", metrics.consistency.agreement))
    labelled += [(f"baseline {name}", result) for name, result in metrics.baselines.items()]
    if metrics.above_question_only is not None:
        labelled.append(("above question_only, points", metrics.above_question_only))
    if metrics.above_question_and_kind is not None:
        labelled.append(("above question_and_kind, points", metrics.above_question_and_kind))
    return labelled


def confidence_notes(confidence: ConfidenceMeasures | None) -> list[str]:
    """Sentences on how far confidences can be trusted; none where they were not measured."""
    if confidence is None:
        return []
    notes = [
        f"Confidence ({confidence.n} answers): expected calibration error "
        f"{confidence.expected_calibration_error:.4f}, Brier score {confidence.brier_score:.4f}, area under the "
        f"risk-coverage curve {confidence.risk_coverage_area:.4f}"
    ]
    if confidence.abstention is not None:
        _, coverage, interval, n = interval_cells("", confidence.abstention.coverage)
        notes.append(f"Abstention: {coverage} % ({interval}) of {n} answers are at or above the threshold")
        _, errors, interval, n = interval_cells("", confidence.abstention.error_rate)
        notes.append(f"Abstention: {errors} % ({interval}) of these {n} are wrong")
    return notes


def extraction_notes(extraction: Extraction | None) -> list[str]:
    """What was measured of the answers that were taken out of sentences, and what was not."""
    if extraction is None:
        return []
    return [
        "Extracted are the answers of the accuracies beside, comparisons and grounding. Distances from baselines, "
        "agreement of wordings, confidence, BLEU-1 and token F1 are of the answers as they stand."
    ]


def fingerprint_notes(fingerprint: Fingerprint) -> list[str]:
    """What two results must share to be comparable, and the command."""
    counts = {"answer_type": fingerprint.answer_type_counts, "yes/no": fingerprint.yes_no_counts}
    spelled = [
        f"{definition} " + (", ".join(f"{count} {group}" for group, count in groups.items()) or "unknown")
        for definition, groups in counts.items()
    ]
    versions = ", ".join(f"{package} {version}" for package, version in fingerprint.versions.items())
    normalizer, rules = fingerprint.normalizer, fingerprint.extraction
    extraction = "" if rules is None else f"extraction rules {rules.version} {rules.source_sha256[:12]}; "
    return [
        f"Fingerprint: questions {fingerprint.questions_sha256[:12]}; {'; '.join(spelled)}; "
        f"{normalizer.name} {normalizer.source_sha256[:12]}; {extraction}seed {fingerprint.seed}; {versions}",
        f"Command: {fingerprint.command}",
    ]


def difference_cell(points: Interval) -> str:
    """A difference with its sign and its interval."""
    return f"{points.value:+.2f} ({points.low:+.2f} to {points.high:+.2f})"


def comparison_table(comparison: Comparison, first: str, second: str) -> Table:
    """The table of a comparison; the names are those of the two systems."""
    return Table(
        f"{first} less {second}, the same {comparison.difference.n} questions",
        ("paired comparison", "value"),
        [
            ("difference in percentage points", difference_cell(comparison.difference)),
            (f"only {first} is right", str(comparison.only_first_right)),
            (f"only {second} is right", str(comparison.only_second_right)),
            ("p, exact McNemar, questions", f"{comparison.mcnemar_p:.4g}"),
            ("p, exact permutation, images", f"{comparison.permutation_p:.4g}"),
        ],
        ["Questions about one image are not independent: trust the permutation over images and the interval."],
    )


def systems_table(compared: SystemComparison) -> Table:
    """The table of several systems: a line each."""
    extracted = compared.answers == "extracted"
    rows = [
        (*interval_cells(one.name, one.overall), *(interval_cells("", one.overall_extracted)[1:3] if extracted else ()))
        for one in compared.systems
    ]
    header = ("system, accuracy in %", "value", "95 % interval", "n", "extracted", "95 % interval")
    return Table(f"{len(rows)} systems, the same questions", header[: 6 if extracted else 4], rows)


def pairs_table(compared: SystemComparison) -> Table:
    """The table of all pairs of systems, each tested, with p corrected for the number of pairs."""
    rows = [
        (
            f"{pair.first} less {pair.second}",
            difference_cell(pair.comparison.difference),
            f"{pair.comparison.permutation_p:.4g}",
            f"{pair.permutation_p_holm:.4g}",
        )
        for pair in compared.pairs
    ]
    answers = "the answers taken out of sentences" if compared.answers == "extracted" else "the answers as they stand"
    return Table(
        f"{len(rows)} pairs of systems, by {answers}",
        ("paired comparison", "difference in points", "p", "p, Holm"),
        rows,
        [f"p: exact permutation, image by image. Holm's correction is for the {len(rows)} pairs: trust its p."],
    )


def grounding_table(result: Grounding) -> Table:
    """The table of a grounding."""
    labelled = [
        ("accuracy, real images", result.real),
        ("accuracy, blank images", result.blank),
        *((f"accuracy, shuffle {number}", shuffle) for number, shuffle in enumerate(result.shuffled, start=1)),
        ("accuracy, mean of shuffles", result.shuffled_mean),
        ("answers changed by blanking", result.changed_by_blank),
        ("answers changed by shuffling", result.changed_by_shuffling),
        ("visual reliance", result.visual_reliance),
    ]
    notes = ["Visual reliance: accuracy on real images less that on shuffled ones, in percentage points."]
    if result.among_alike is not None:
        alike = result.among_alike
        among_alike = [
            ("accuracy, real images", alike.real),
            ("accuracy, mean of shuffles", alike.shuffled_mean),
            ("visual reliance", alike.visual_reliance),
            *((f"visual reliance, modality {group}", mean) for group, mean in alike.by_modality.items()),
            *((f"visual reliance, question type {group}", mean) for group, mean in alike.by_question_type.items()),
        ]
        labelled += [(f"among alike: {label}", figure) for label, figure in among_alike]
        kind = " and ".join(alike.alike_in)
        notes.append(f"Among alike: images of one {kind} shuffled; 0 for a system that sees no more than that.")
    return Table(
        "Does it look at the image?",
        ("grounding, in %", "value", "95 % interval", "n"),
        [interval_cells(*pair) for pair in labelled],
        notes,
    )


def knowledge_table(result: KnowledgeSelection) -> Table:
    """The table of what a model selects from its knowledge."""
    rows = [
        ("mean rank of the true answer's entry", f"{result.mean_rank:.2f}"),
        ("the same of other questions' answers", f"{result.mean_rank_of_others:.2f}"),
        ("by chance", f"{result.chance:.2f}"),
        ("share of what is added that varies between tokens", f"{result.varying_share:.3f}"),
    ]
    if result.gate_mean is not None and result.gate_std is not None:
        rows.append(("gate, mean and standard deviation", f"{result.gate_mean:.3f}, {result.gate_std:.3f}"))
    return Table(
        "What does it select from its knowledge?",
        (f"attention over {result.entries} answers, {result.n} questions", "value"),
        rows,
        ["Ranks count from 1, the most attended. An attention that is alike for all questions ranks both alike."],
    )


def classification_table(results: Mapping[str, ClassificationMetrics], name: str) -> Table:
    """A table of metrics by classifier; `name` says of which images and labels."""
    rows = []
    for classifier, metrics in results.items():
        rows.append(interval_cells(f"{classifier}, accuracy", metrics.accuracy))
        rows.append(interval_cells(f"{classifier}, mean AUROC", metrics.auroc))
    return Table(name, ("classification, in %", "value", "95 % interval", "n"), rows)


def retrieval_table(metrics: RetrievalMetrics, name: str) -> Table:
    """The table of retrieval; `name` says of which pairs."""
    rows = [
        interval_cells(f"{label} recall@{k}", recall)
        for label, way in (("image to text", metrics.image_to_text), ("text to image", metrics.text_to_image))
        for k, recall in way.recall.items()
    ]
    chance = ", ".join(f"{share:.2f} @{k}" for k, share in metrics.chance.items())
    return Table(
        f"{name}: retrieval among {metrics.n} pairs",
        ("retrieval, in %", "value", "95 % interval", "n"),
        rows,
        [
            f"A random order would reach {chance}. Median ranks: image to text "
            f"{metrics.image_to_text.median_rank:g}, text to image {metrics.text_to_image.median_rank:g}."
        ],
    )
