"""Configuration of AGA: AMiF's, and how tokens and patches are grouped."""

from typing import Any

from .configuration_amif import AmifConfig

GATES = ("per_item", "per_pair", "fixed")


class AgaConfig(AmifConfig):
    """Configuration of `AgaForPreTraining`.

    Args:
        alignment_size: Width e in which tokens and patches are grouped.
        gate: Thresholds are learned "per_item", one for each token and patch, or "per_pair", one for each side of a
            pair; or are "fixed" at 1 / number of what can be gathered, as in SPARC.
        **kwargs: Fields of `AmifConfig`.

    Raises:
        ValueError: If `gate` is unknown.
    """

    model_type = "amif_aga"

    def __init__(self, alignment_size: int = 256, gate: str = "per_item", **kwargs: Any) -> None:
        if gate not in GATES:
            raise ValueError(f"gate={gate!r} is unknown; choose one of {GATES}.")
        self.alignment_size = alignment_size
        self.gate = gate
        super().__init__(**kwargs)


AgaConfig.register_for_auto_class()
