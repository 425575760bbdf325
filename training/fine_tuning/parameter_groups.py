"""Which parts of a model are trained, and how fast."""

from collections.abc import Mapping

from torch import nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

# What no checkpoint of single images brings, and training on questions about several adds.
OF_VIEWS = ("view_embedding",)

# What a text encoder's checkpoint does not bring: all between encoders and decoder, and the decoder's answer head.
FUSION_MODULES = (
    "_projection",
    "co_attention",
    "knowledge_fusion",
    "crossattention",
    "decoder.cls",
    "decoder.lm_head",
    *OF_VIEWS,
)

# What a pre-training checkpoint does not bring; a co-attention it brings trained of AMiF's second stage alone.
NEW_AFTER_PRETRAINING = ("decoder_projection", *FUSION_MODULES[1:])

# What images pass before the first block, as transformers' image encoders name it.
BEFORE_BLOCKS = ("embeddings", "pre_layrnorm")


def set_rates_by_part(
    optimizer: Optimizer,
    model: nn.Module,
    vision_rate: float | None,
    fusion_rate: float | None,
    factors: Mapping[nn.Parameter, float],
) -> None:
    """Part an optimizer's groups into ones of a learning rate each.

    Args:
        optimizer: Holds the parameters of `model`, and is changed in place.
        model: Its names say which part a parameter belongs to.
        vision_rate: Of the vision encoder; None leaves the group's.
        fusion_rate: Of `FUSION_MODULES`; None leaves the group's.
        factors: What a parameter's rate is multiplied by, such as `layer_decay_factors`; 1 where it is not named.
    """
    own_rates = {}
    for name, parameter in model.named_parameters():
        if ".vision_model." in name:
            own_rates[parameter] = vision_rate
        elif any(module in name for module in FUSION_MODULES):
            own_rates[parameter] = fusion_rate
    groups = []
    for group in optimizer.param_groups:
        parts: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            rate = own_rates.get(parameter)
            rate = group["lr"] if rate is None else rate
            parts.setdefault(rate * factors.get(parameter, 1.0), []).append(parameter)
        groups += [group | {"params": parameters, "lr": rate} for rate, parameters in parts.items()]
    optimizer.param_groups[:] = groups


def train_last_blocks(vision_model: PreTrainedModel, count: int) -> None:
    """Freeze a vision encoder up to its last `count` blocks; what follows them, such as the last norm, stays trained.

    No gradient is computed below, so that a step costs a forward pass there and no more.

    Raises:
        ValueError: If there are fewer than `count` blocks, it is below 1, or the blocks are not found.
    """
    blocks = _blocks(vision_model, "--trained_vision_blocks")
    if not 1 <= count <= len(blocks):
        raise ValueError(
            f"--trained_vision_blocks {count}: the vision encoder has {len(blocks)} blocks, give 1 to {len(blocks)}."
        )
    for module in _before_blocks(vision_model):
        module.requires_grad_(False)
    for block in blocks[: len(blocks) - count]:
        block.requires_grad_(False)


def layer_decay_factors(vision_model: PreTrainedModel, decay: float) -> dict[nn.Parameter, float]:
    """Layer-wise decay: each parameter's share of the encoder's learning rate.

    Returns:
        1 for the last block and what follows it, `decay` times the block above's for each block below, and `decay`
        times the first block's for what comes before.

    Raises:
        ValueError: If the encoder's blocks are not found.
    """
    blocks = _blocks(vision_model, "--vision_layer_decay")
    factors = dict.fromkeys(vision_model.parameters(), 1.0)
    for depth, block in enumerate(reversed(blocks)):
        factors |= dict.fromkeys(block.parameters(), decay**depth)
    for module in _before_blocks(vision_model):
        factors |= dict.fromkeys(module.parameters(), decay ** len(blocks))
    return factors


def _blocks(vision_model: PreTrainedModel, option: str) -> nn.ModuleList:
    depth = getattr(vision_model.config, "num_hidden_layers", 0)
    lists = [module for module in vision_model.modules() if isinstance(module, nn.ModuleList) and len(module) == depth]
    if len(lists) != 1:
        raise ValueError(
            f"The blocks of {type(vision_model).__name__} are not found: leave out {option}, or give "
            "--freeze_vision_encoder."
        )
    return lists[0]


def _before_blocks(vision_model: PreTrainedModel) -> list[nn.Module]:
    return [module for name, module in vision_model.named_children() if name in BEFORE_BLOCKS]
