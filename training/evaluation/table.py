"""The table of a result."""

from .prediction_rows import Row


def _labelled_accuracies(metrics: Row) -> list[tuple[str, Row | None]]:
    return [
        ("overall", metrics["overall"]),
        *((f"{name} (answer_type)", result) for name, result in metrics["by_answer_type"].items()),
        *((f"{name} (yes/no answer)", result) for name, result in metrics["by_yes_no"].items()),
        *((f"question type {name}", result) for name, result in metrics["by_question_type"].items()),
        *((f"baseline {name}", result) for name, result in metrics["baselines"].items()),
    ]


def _cells(label: str, result: Row | None) -> tuple[str, str, str, str]:
    if result is None:
        return label, "-", "-", "0"
    low, high = result["ci95"]
    return label, f"{result['accuracy']:.2f}", f"{low:.2f} - {high:.2f}", str(result["n"])


def format_table(metrics: Row) -> str:
    """Plain-text table of `build_metrics`: a line an accuracy with its interval and number of questions.

    A dash stands where nothing could be scored; the last line says what the protocol allows.
    """
    rows = [("accuracy in %", "value", "95 % interval", "n")]
    rows += [_cells(*labelled) for labelled in _labelled_accuracies(metrics)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{metrics['dataset']}, {metrics['split']}: {metrics['n']} questions, {metrics['unscored']} not scored"]
    for label, *numbers in rows:
        cells = [label.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
        lines.append("  ".join(cells))
    lines.append(f"Protocol {metrics['protocol']}: {metrics['protocol_note']}")
    return "\n".join(lines)
