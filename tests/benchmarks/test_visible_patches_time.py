"""Time of the paper's image encoder on a quarter of the patches, beside its time on all; weights are random."""

import time

import pytest
import torch
from transformers import CLIPVisionConfig

from amif.modeling_amif.encoders_amif import build_encoder, read_images, read_visible_patches

pytestmark = pytest.mark.slow

IMAGES, ROUNDS = 4, 5


def seconds(encode, *arguments):
    start = time.process_time()
    encode(*arguments)
    return time.process_time() - start


@torch.no_grad()
def test_a_quarter_of_the_patches_takes_less_than_two_fifths_of_the_time():
    encoder = build_encoder(CLIPVisionConfig(image_size=288, patch_size=16)).eval()
    pixels = torch.rand(IMAGES, 3, 288, 288)
    visible = torch.stack([torch.randperm(324)[:81].sort().values for _ in range(IMAGES)])
    whole, part = [], []
    for _ in range(ROUNDS):  # in turns, so that a slow moment strikes both
        whole.append(seconds(read_images, encoder, pixels, 1))
        part.append(seconds(read_visible_patches, encoder, pixels, visible))
    print(f"all patches {min(whole):.2f} s, a quarter {min(part):.2f} s, ratio {min(whole) / min(part):.2f}")
    assert min(whole) > 2.5 * min(part)
