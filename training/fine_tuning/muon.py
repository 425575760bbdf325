"""Muon for the matrices inside layers, AdamW for all else; both in the number format of the weights."""

from typing import Any

import torch
from pytorch_optimizer import Muon
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5
from torch import nn
from torch.optim import Optimizer

# Tables, and what makes logits of them: their rows are tokens and places, each with a gradient of its own.
_NOT_INSIDE_LAYERS = ("embeddings", "_embedding", "decoder.cls", "decoder.lm_head")


class MuonInFull(Muon):
    """The library's Muon, which rounds its matrices to bfloat16: emulated on most CPUs, and thirty times slower."""

    @staticmethod
    def _orthogonalize(group: dict[str, Any], updates: list[torch.Tensor]) -> list[torch.Tensor]:
        # Those of a call have one shape, or its transpose.
        lying = [update.mT if update.size(0) > update.size(1) else update for update in updates]
        steps, weights = group["ns_steps"], group["ns_coeffs"]
        turned = zero_power_via_newton_schulz_5(torch.stack(lying), steps, weights=weights, dtype=updates[0].dtype)
        return [
            new.mT if update.size(0) > update.size(1) else new
            for new, update in zip(turned.unbind(), updates, strict=True)
        ]


def with_muon(optimizer: Optimizer, model: nn.Module, rate: float) -> MuonInFull:
    """An optimizer in place of an AdamW: Muon for the matrices inside layers, the AdamW's groups for all else.

    Muon makes the momentum of a matrix nearly orthogonal (K. Jordan and others, 2024); it is no part of AMiF's paper.

    Args:
        optimizer: AdamW, holding the parameters of `model`.
        model: Its names say which matrices lie inside layers.
        rate: Muon's learning rate; updates are scaled so that it is comparable with AdamW's.
    """
    inside = {
        parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2 and not any(part in name for part in _NOT_INSIDE_LAYERS)
    }
    groups = []
    for group in optimizer.param_groups:
        shared: dict[str, Any] = {"weight_decay": group["weight_decay"]}
        matrices = [parameter for parameter in group["params"] if parameter in inside]
        others = [parameter for parameter in group["params"] if parameter not in inside]
        if matrices:
            groups.append({"params": matrices, "lr": rate, "use_muon": True, **shared})
        if others:
            adam = {name: group[name] for name in ("lr", "betas", "eps")}
            groups.append({"params": others, "use_muon": False, **adam, **shared})
    return MuonInFull(groups, use_adjusted_lr=True)
