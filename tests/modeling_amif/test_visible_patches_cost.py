"""What it saves to encode the visible patches alone, by torch's count of floating-point operations."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, Dinov2Config, ViTConfig

from amif.modeling_amif.encoders_amif import build_encoder, read_images, read_visible_patches

ENCODERS = {
    "the paper's, 288 pixels": CLIPVisionConfig(image_size=288, patch_size=16),
    "ViT-B, 224 pixels": ViTConfig(),
    "DINOv2-small, 112 pixels": Dinov2Config(image_size=112, patch_size=14, hidden_size=384, num_attention_heads=6),
}


def flops(encode, *arguments):
    with FlopCounterMode(display=False) as counter:
        encode(*arguments)
    return counter.get_total_flops()


@torch.no_grad()
@pytest.mark.parametrize("name", ENCODERS)
def test_a_quarter_of_the_patches_costs_less_than_two_fifths(name):
    config = ENCODERS[name]
    with torch.device("meta"):  # shapes alone: nothing is computed
        encoder = build_encoder(config).eval()
        pixels = torch.empty(2, 3, config.image_size, config.image_size)
        patches = (config.image_size // config.patch_size) ** 2
        visible = torch.zeros(2, int(patches * 0.25), dtype=torch.long)
    whole = flops(read_images, encoder, pixels, 1)
    assert whole > 2.5 * flops(read_visible_patches, encoder, pixels, visible)
