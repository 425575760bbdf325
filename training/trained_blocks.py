"""Which blocks of a vision encoder are trained."""

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
    depth = getattr(vision_model.config, "num_hidden_layers", 0)
    lists = [module for module in vision_model.modules() if isinstance(module, nn.ModuleList) and len(module) == depth]
    if len(lists) != 1:
        raise ValueError(
            f"The blocks of {type(vision_model).__name__} are not found: leave out --trained_vision_blocks, or give "
            "--freeze_vision_encoder."
        )
    if not 1 <= count <= depth:
        raise ValueError(f"--trained_vision_blocks {count}: the vision encoder has {depth} blocks, give 1 to {depth}.")
    for name, module in vision_model.named_children():
        if name in BEFORE_BLOCKS:
            module.requires_grad_(False)
    for block in lists[0][: depth - count]:
        block.requires_grad_(False)
