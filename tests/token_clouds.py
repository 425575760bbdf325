"""Tokens of image and text as networks give them, from well trained to collapsed."""

import torch

KINDS = ["unrelated", "alike", "clustered", "flat"]


def tokens(kind, batch, n, m, size=64, seed=0):
    """Image (batch, n, size) and text (batch, m, size) tokens: unrelated, alike, in clusters, or of 3 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    size = 3 if kind == "flat" else size
    image, text = (torch.randn(batch, count, size, generator=generator) for count in (n, m))
    if kind == "alike":
        common = 10 * torch.randn(batch, 1, size, generator=generator)
        return image + common, text + common
    if kind == "clustered":
        centres = torch.randn(batch, 8, size, generator=generator)
        members = [torch.randint(8, (batch, count, 1), generator=generator).expand(-1, -1, size) for count in (n, m)]
        return centres.gather(1, members[0]) + 0.2 * image, centres.gather(1, members[1]) + 0.2 * text
    return image, text
