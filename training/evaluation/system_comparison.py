"""Any number of systems that answered the same questions, side by side and pair by pair."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .extracted_answers import ExtractedPrediction, as_answered
from .grouped_accuracy import accuracy_with_interval
from .prediction_rows import Prediction
from .results import Interval, Result
from .significance import Comparison, compare_predictions, holm


@dataclass(frozen=True)
class System(Result):
    """One of several systems.

    Attributes:
        name: Of its file.
        overall: Accuracy by exact match.
        overall_extracted: Accuracy of the answers taken out of its sentences; None where none were.
    """

    name: str
    overall: Interval | None
    overall_extracted: Interval | None


@dataclass(frozen=True)
class Pair(Result):
    """Two of the systems.

    Attributes:
        first: Its name.
        second: Likewise.
        comparison: First less second.
        permutation_p_holm: Its `permutation_p`, corrected by `holm` for the number of pairs.
    """

    first: str
    second: str
    comparison: Comparison
    permutation_p_holm: float

    def json_fields(self) -> Mapping[str, object]:
        """The names, the comparison's own fields, then the corrected p."""
        names = {"first": self.first, "second": self.second}
        return {**names, **self.comparison.json_fields(), "permutation_p_holm": self.permutation_p_holm}


@dataclass(frozen=True)
class SystemComparison(Result):
    """All systems and all pairs of them.

    Attributes:
        answers: "extracted" where the pairs are compared by answers taken out of sentences, else "exact".
        systems: In the order in which they were given.
        pairs: Each once, the one given first being the first.
    """

    answers: str
    systems: list[System]
    pairs: list[Pair]


def compare_systems(systems: Mapping[str, Sequence[Prediction]]) -> SystemComparison:
    """Accuracies of all systems, and the paired comparison of every two.

    Args:
        systems: By name the answers of each; where all were taken out of sentences, pairs are compared by these.

    Raises:
        ValueError: If `compare_predictions` raises it.
    """
    extracted = all(isinstance(row, ExtractedPrediction) for rows in systems.values() for row in rows)
    compared = {name: as_answered(rows) for name, rows in systems.items()}
    pairs = list(itertools.combinations(systems, 2))
    comparisons = [compare_predictions(compared[first], compared[second]) for first, second in pairs]
    corrected = holm([one.permutation_p for one in comparisons])
    return SystemComparison(
        "extracted" if extracted else "exact",
        [
            System(name, accuracy_with_interval(rows), accuracy_with_interval(compared[name]) if extracted else None)
            for name, rows in systems.items()
        ],
        [Pair(*pair, one, p) for pair, one, p in zip(pairs, comparisons, corrected, strict=True)],
    )
