"""The content of `metrics.json`."""

from collections.abc import Mapping, Sequence

from .grouped_accuracy import score_rows
from .prediction_rows import Row
from .protocols import protocol_note


def build_metrics(
    rows: Sequence[Row],
    *,
    protocol: str,
    dataset_name: str,
    split: str,
    baselines: Mapping[str, Row | None],
    fingerprint: Row,
) -> Row:
    """The content of `metrics.json`: what was evaluated and how, `score_rows`, `baselines` and the fingerprint.

    Args:
        rows: rows of `prediction_rows`.
        protocol: "clean", "paper" or "generate"; its note stands beside it.
        dataset_name: name or path of the data.
        split: the evaluated split.
        baselines: `baseline_accuracies` of the same questions, empty where there is nothing to learn them from.
        fingerprint: `evaluation_fingerprint` of the same rows.

    Raises:
        ValueError: where the protocol is unknown.
    """
    return {
        "protocol": protocol,
        "protocol_note": protocol_note(protocol),
        "dataset": dataset_name,
        "split": split,
        **score_rows(rows),
        "baselines": dict(baselines),
        "fingerprint": fingerprint,
    }
