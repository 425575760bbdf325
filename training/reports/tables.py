"""Results as tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..evaluation.prediction_rows import Row
from ..evaluation.retrieval import RANKS


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


def format_table(metrics: Row) -> str:
    """Plain-text table of `build_metrics`: a line a figure with its interval and number of questions.

    Below it that of `grounding`, where `metrics` has it.
    """
    tables = [metrics_table(metrics)]
    if metrics.get("grounding") is not None:
        tables.append(grounding_table(metrics["grounding"]))
    return "\n\n".join(map(plain_text, tables))


def metrics_table(metrics: Row) -> Table:
    """The table of `build_metrics`. A dash stands where nothing could be scored.

    The notes say what the protocol allows, and give the fingerprint that two results must share to be comparable.
    """
    return Table(
        f"{metrics['dataset']}, {metrics['split']}: {metrics['n']} questions, {metrics['unscored']} not scored",
        ("accuracy in %", "value", "95 % interval", "n"),
        [interval_cells(*labelled) for labelled in _labelled_results(metrics)],
        [
            *_confidence_notes(metrics),
            f"Protocol {metrics['protocol']}: {metrics['protocol_note']}",
            *_fingerprint(metrics),
        ],
    )


def interval_cells(label: str, result: Row | None) -> tuple[str, str, str, str]:
    """Label, value, interval and n of what `mean_with_interval` gives; dashes for None."""
    if result is None:
        return label, "-", "-", "0"
    value = next(value for name, value in result.items() if name not in ("ci95", "n"))
    low, high = result["ci95"]
    separator = "to" if low < 0 else "-"
    return label, f"{value:.2f}", f"{low:.2f} {separator} {high:.2f}", str(result["n"])


def _labelled_results(metrics: Row) -> list[tuple[str, Row | None]]:
    groups = {
        "by_answer_type": "{} (answer_type)",
        "by_yes_no": "{} (yes/no answer)",
        "by_question_type": "question type {}",
        "by_modality": "modality {}",
        "by_organ": "organ {}",
    }
    labelled = [("overall", metrics["overall"])]
    for key, label in groups.items():
        labelled += [(label.format(name), result) for name, result in metrics[key].items()]
    labelled += [("BLEU-1", metrics["text_overlap"]["bleu1"]), ("token F1", metrics["text_overlap"]["token_f1"])]
    if metrics["vqa_med"] is not None:
        labelled += [(f"VQA-Med {name.replace('_', ' ')}", result) for name, result in metrics["vqa_med"].items()]
    if metrics["consistency"] is not None:
        labelled.append(("agreement of wordings", metrics["consistency"]["agreement"]))
    labelled += [(f"baseline {name}", result) for name, result in metrics["baselines"].items()]
    for name in ("question_only", "question_and_kind"):
        if metrics[f"above_{name}"] is not None:
            labelled.append((f"above {name}, points", metrics[f"above_{name}"]))
    return labelled


def _confidence_notes(metrics: Row) -> list[str]:
    confidence = metrics["confidence"]
    if confidence is None:
        return []
    notes = [
        f"Confidence ({confidence['n']} answers): expected calibration error "
        f"{confidence['expected_calibration_error']:.4f}, Brier score {confidence['brier_score']:.4f}, area under the "
        f"risk-coverage curve {confidence['risk_coverage_area']:.4f}"
    ]
    if confidence["abstention"] is not None:
        _, coverage, interval, n = interval_cells("", confidence["abstention"]["coverage"])
        notes.append(f"Abstention: {coverage} % ({interval}) of {n} answers are at or above the threshold")
        _, errors, interval, n = interval_cells("", confidence["abstention"]["error_rate"])
        notes.append(f"Abstention: {errors} % ({interval}) of these {n} are wrong")
    return notes


def _fingerprint(metrics: Row) -> list[str]:
    fingerprint = metrics["fingerprint"]
    counts = {"answer_type": fingerprint["answer_type_counts"], "yes/no": fingerprint["yes_no_counts"]}
    spelled = [
        f"{definition} " + (", ".join(f"{count} {group}" for group, count in groups.items()) or "unknown")
        for definition, groups in counts.items()
    ]
    versions = ", ".join(f"{package} {version}" for package, version in fingerprint["versions"].items())
    normalizer = fingerprint["normalizer"]
    return [
        f"Fingerprint: questions {fingerprint['questions_sha256'][:12]}; {'; '.join(spelled)}; "
        f"{normalizer['name']} {normalizer['source_sha256'][:12]}; seed {fingerprint['seed']}; {versions}",
        f"Command: {fingerprint['command']}",
    ]


def comparison_table(comparison: Row, first: str, second: str) -> Table:
    """The table of `compare_predictions`; the names are those of the two systems."""
    low, high = comparison["ci95"]
    n = comparison["n"]
    return Table(
        f"{first} less {second}, the same {n} questions",
        ("paired comparison", "value"),
        [
            ("difference in percentage points", f"{comparison['difference']:+.2f} ({low:+.2f} to {high:+.2f})"),
            (f"only {first} is right", str(comparison["only_first_right"])),
            (f"only {second} is right", str(comparison["only_second_right"])),
            ("p, exact McNemar, questions", f"{comparison['mcnemar_p']:.4g}"),
            ("p, exact permutation, images", f"{comparison['permutation_p']:.4g}"),
        ],
        ["Questions about one image are not independent: trust the permutation over images and the interval."],
    )


def grounding_table(result: Row) -> Table:
    """The table of `grounding`."""
    labelled = [
        ("accuracy, real images", result["real"]),
        ("accuracy, blank images", result["blank"]),
        *((f"accuracy, shuffle {number}", shuffle) for number, shuffle in enumerate(result["shuffled"], start=1)),
        ("accuracy, mean of shuffles", result["shuffled_mean"]),
        ("answers changed by blanking", result["changed_by_blank"]),
        ("answers changed by shuffling", result["changed_by_shuffling"]),
        ("visual reliance", result["visual_reliance"]),
    ]
    notes = ["Visual reliance: accuracy on real images less that on shuffled ones, in percentage points."]
    if (alike := result.get("among_alike")) is not None:
        labelled += _labelled_among_alike(alike)
        kind = " and ".join(alike["of_one"])
        notes.append(f"Among alike: images of one {kind} shuffled; 0 for a system that sees no more than that.")
    return Table(
        "Does it look at the image?",
        ("grounding, in %", "value", "95 % interval", "n"),
        [interval_cells(*pair) for pair in labelled],
        notes,
    )


def _labelled_among_alike(result: Row) -> list[tuple[str, Row | None]]:
    labelled = [
        ("accuracy, real images", result["real"]),
        ("accuracy, mean of shuffles", result["shuffled_mean"]),
        ("visual reliance", result["visual_reliance"]),
        *((f"visual reliance, modality {group}", mean) for group, mean in result["by_modality"].items()),
        *((f"visual reliance, question type {group}", mean) for group, mean in result["by_question_type"].items()),
    ]
    return [(f"among alike: {label}", figure) for label, figure in labelled]


def classification_table(results: dict[str, Row], name: str) -> Table:
    """A table of `classification_metrics` by classifier; `name` says of which images and labels."""
    rows = []
    for classifier, metrics in results.items():
        rows.append(interval_cells(f"{classifier}, accuracy", metrics["accuracy"]))
        rows.append(interval_cells(f"{classifier}, mean AUROC", metrics["auroc"]))
    return Table(name, ("classification, in %", "value", "95 % interval", "n"), rows)


def retrieval_table(metrics: Row, name: str) -> Table:
    """The table of `retrieval_metrics`; `name` says of which pairs."""
    rows = [
        interval_cells(f"{label} recall@{k}", metrics[way][f"recall@{k}"])
        for way, label in (("image_to_text", "image to text"), ("text_to_image", "text to image"))
        for k in RANKS
    ]
    chance = ", ".join(f"{metrics[f'chance@{k}']:.2f} @{k}" for k in RANKS)
    return Table(
        f"{name}: retrieval among {metrics['n']} pairs",
        ("retrieval, in %", "value", "95 % interval", "n"),
        rows,
        [
            f"A random order would reach {chance}. Median ranks: image to text "
            f"{metrics['image_to_text']['median_rank']:g}, text to image {metrics['text_to_image']['median_rank']:g}."
        ],
    )
