"""The knowledge vocabulary of a model that answers, and its states, which are computed no oftener than they change."""

from typing import Self

import torch

from .input_checks_amif import check_ids
from .knowledge_fusion_amif import AmifKnowledgeFusion
from .modeling_amif import AmifModel, AmifPreTrainedModel


class AmifWithKnowledge(AmifPreTrainedModel):
    """A model that fuses a vocabulary of knowledge into its joint states, where it is configured to and has one."""

    model: AmifModel
    knowledge_fusion: AmifKnowledgeFusion | None
    knowledge_ids: torch.Tensor | None
    _cached_knowledge: tuple[tuple, torch.Tensor] | None = None

    def set_knowledge(self, ids: torch.Tensor | list[int]) -> None:
        """Set the knowledge vocabulary; it is kept in the checkpoint.

        Args:
            ids: (M,) token ids of the vocabulary, entries separated by the tokenizer's [SEP]; any length, one at least.

        Raises:
            TypeError: If the ids are not whole numbers.
            ValueError: If the model has no knowledge fusion, or there are no ids, or one is none of the vocabulary's.
        """
        if self.knowledge_fusion is None:
            raise ValueError("This model was configured with knowledge_fusion='none' and takes no knowledge.")
        ids = check_ids(ids, self.model.get_input_embeddings().num_embeddings)
        # Weights that are loaded when they are needed stand on the device "meta" until then.
        self.knowledge_ids = ids if self.device.type == "meta" else ids.to(self.device)
        self.config.knowledge_size = len(ids)
        self._cached_knowledge = None

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; cached knowledge states are dropped."""
        self._cached_knowledge = None
        return super().train(mode)

    def knowledge_states(self) -> torch.Tensor | None:
        """F_p, the states (1, M, d) of the knowledge vocabulary; None where there is none.

        Computed once per forward. In evaluation without gradients they are kept until weights or vocabulary change.
        """
        if self.knowledge_fusion is None or self.knowledge_ids is None:
            return None
        table = self.model.get_input_embeddings()
        weights = list(self.knowledge_fusion.parameters())
        # Where there are gradients an optimizer may step next, and fused ones change weights without a new version.
        steps = torch.is_grad_enabled() or any(weight.grad is not None for weight in weights)
        # Of weights that are loaded when they are needed nothing tells that they changed.
        elsewhere = any(weight.is_meta for weight in weights)
        if self.training or torch.compiler.is_compiling() or steps or elsewhere:
            self._cached_knowledge = None
            return self.knowledge_fusion.encode_knowledge(table(self.knowledge_ids))
        version = self._version_of(*weights, *table.parameters(), self.knowledge_ids)
        if self._cached_knowledge is None or self._cached_knowledge[0] != version:
            states = self.knowledge_fusion.encode_knowledge(table(self.knowledge_ids))
            self._cached_knowledge = (version, states)
        return self._cached_knowledge[1]

    def _version_of(self, *tensors: torch.Tensor) -> tuple:
        """Changes with any write to the tensors that torch counts, dtype, device or autocast.

        Torch does not count writes through `.data`, which some helpers that average weights make: `eval()` after them
        drops the states.
        """
        autocast = torch.is_autocast_enabled(self.device.type), torch.get_autocast_dtype(self.device.type)
        versions = ((t.data_ptr(), 0 if t.is_inference() else t._version, t.dtype) for t in tensors)
        return (self.config._attn_implementation, *autocast, *versions)
