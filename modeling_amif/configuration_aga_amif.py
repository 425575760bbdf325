"""Configuration of AGA: AMiF's, and how tokens and patches are grouped."""

from typing import Any

from .configuration_amif import AmifConfig

GATES = ("per_item", "per_pair", "fixed")


class AgaConfig(AmifConfig):
    """Configuration of `AgaForPreTraining`.

    Args:
        alignment_size: Width e of the local adaptors, in which tokens and patches are grouped.
        local_adaptors: Whether tokens and patches each pass a linear layer of their own before they are grouped; else
            they are grouped in the space of width `hidden_size` in which whole images and reports are aligned.
        gate: Thresholds are learned "per_item", one for each token and patch, or "per_pair", one for each side of a
            pair; or are "fixed" at 1 / number of what can be gathered, as in SPARC.
        **kwargs: Fields of `AmifConfig`.

    Raises:
        ValueError: If `gate` is unknown.
    """

    model_type = "amif_aga"

    def __init__(
        self, alignment_size: int = 256, gate: str = "per_item", local_adaptors: bool = True, **kwargs: Any
    ) -> None:
        if gate not in GATES:
            raise ValueError(f"gate={gate!r} is unknown; choose one of {GATES}.")
        self.alignment_size = alignment_size
        self.gate = gate
        self.local_adaptors = local_adaptors
        super().__init__(**kwargs)

    @property
    def group_size(self) -> int:
        """Width in which tokens and patches are grouped."""
        return self.alignment_size if self.local_adaptors else self.hidden_size


AgaConfig.register_for_auto_class()
