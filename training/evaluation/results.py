"""What results share: typed fields here, JSON in files, and one figure with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Result:
    """A result with typed fields. `result_files` writes it as JSON, in which `json_fields` stand."""

    def json_fields(self) -> Mapping[str, object]:
        """What JSON holds of it, in order: the fields by name; values may be results again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Interval(Result):
    """A figure with its 95 % interval.

    Attributes:
        value: In percent, or percentage points.
        low: Lower bound of the interval.
        high: Upper bound.
        n: How many questions, pairs or images the value is of.
        measure: What the value is, its name in JSON: "accuracy", "share", "score", "recall" or "difference".
    """

    value: float
    low: float
    high: float
    n: int
    measure: str = "accuracy"

    @property
    def ci95(self) -> tuple[float, float]:
        """Both bounds."""
        return self.low, self.high

    def json_fields(self) -> Mapping[str, object]:
        """The value under its measure's name, `ci95` and `n`."""
        return {self.measure: self.value, "ci95": self.ci95, "n": self.n}
