"""Which blocks of a vision encoder are trained, and how fast."""

from torch import nn
from transformers import PreTrainedModel

# What pictures pass before the first block, as transformers' image encoders name it.
BEFORE_BLOCKS = ("embeddings", "pre_layrnorm")


def train_last_blocks(vision_model: PreTrainedModel, count: int) -> None:
    """Freeze a vision encoder up to its last `count` blocks; what follows them, such as the last norm, stays trained.

    No gradient is computed below, so that a step costs a forward pass there and no more.

    Raises:
        ValueError: for fewer than 1 block or more than there are, or an encoder whose blocks are not found.
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
        ValueError: for an encoder whose blocks are not found.
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
