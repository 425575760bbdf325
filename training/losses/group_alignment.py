"""Adaptive grouped alignment of AGA: which patches a word gathers, which words a patch gathers, and their alignment.

What the abstract says: similarities of tokens and patches of one pair, made sparse; every token gathers its patches and
every patch its tokens, above thresholds that gates learn; a group is the mean weighted by similarity; an instance-aware
group alignment loss without negatives from other pairs; and bidirectional cross-modal grouped alignment of the groups.
Every formula is our reading of it. The sparse min-max similarity is that of SPARC, the closest relative, which has a
fixed threshold and one direction.
"""

import torch
import torch.nn.functional as F

from .argument_checks import Given, check_one_width
from .similarity import at_least_float32, cosine_similarities
from .token_contrast import read_across, token_contrast

SIMILARITIES = ("inner", "cosine")
SPARSITIES = ("ste", "soft", "shrink", "hard")
# A row whose similarities differ by less says nothing about what belongs together.
SMALLEST_RANGE = 1e-6
# Width of the sigmoid that stands for the cut where a threshold is to get a gradient.
CUT_WIDTH = 0.1


def min_max_similarity(similarity: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Each row stretched to 0 to 1: (s - min s) / (max s - min s), with a gradient also through min and max.

    Args:
        similarity: (B, n, m), rows gather columns.
        mask: (B, m), True where a column may be gathered; others enter neither min nor max. None where all may.

    Returns:
        (B, n, m), 0 where masked, and 1 at all valid columns of a row whose similarities are all alike.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("B n m", similarity=similarity).optional_flags("B m", mask=mask)
    valid = torch.ones_like(similarity, dtype=torch.bool) if mask is None else mask.bool().unsqueeze(1)
    low = similarity.masked_fill(~valid, torch.inf).amin(dim=-1, keepdim=True)
    spread = similarity.masked_fill(~valid, -torch.inf).amax(dim=-1, keepdim=True) - low
    alike = spread < SMALLEST_RANGE  # which NaN is not
    stretched = (similarity - low.masked_fill(alike, 0)) / spread.masked_fill(alike, 1)
    return torch.where(alike, 1.0, stretched).masked_fill(~valid, 0)


def sparsify(similarity: torch.Tensor, threshold: torch.Tensor, form: str = "ste") -> torch.Tensor:
    """What of each row is above its threshold.

        hard:    K = A 1[A >= theta], without a gradient for theta
        ste:     the same, with the gradient of A sigmoid((A - theta) / 0.1)
        soft:    K = A sigmoid((A - theta) / 0.1)
        shrink:  K = relu(A - theta)

    Args:
        similarity: A, (B, n, m), of `min_max_similarity`: its row maximum is 1, so no row becomes empty.
        threshold: Thresholds theta, (B, n), below 1.
        form: One of the four above.

    Returns:
        K, (B, n, m).

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `form` is another, or dtypes, shapes or devices do not fit.
    """
    if form not in SPARSITIES:
        raise ValueError(f"The form of sparsity {form!r} is none of {', '.join(SPARSITIES)}.")
    Given().floats("B n m", similarity=similarity).floats("B n", threshold=threshold)
    above = similarity - threshold.unsqueeze(-1)
    if form == "shrink":
        return above.relu()
    kept = (above >= 0).to(similarity.dtype)
    if form != "hard":
        soft = (above / CUT_WIDTH).sigmoid()
        kept = soft if form == "soft" else kept + soft - soft.detach()
    return similarity * kept


def gather_groups(
    anchors: torch.Tensor,
    tokens: torch.Tensor,
    threshold: torch.Tensor,
    mask: torch.Tensor | None = None,
    similarity: str = "inner",
    sparsity: str = "ste",
) -> tuple[torch.Tensor, torch.Tensor]:
    """The group of every anchor: the mean of the other modality's tokens that are above its threshold.

        w = K / sum K,  c_i = sum_j w_ij y_j

    Args:
        anchors: Anchors x, (B, n, e).
        tokens: Tokens y, (B, m, e) of the other modality of the same pair.
        threshold: (B, n), below 1.
        mask: (B, m), True where a token may be gathered; None where all may.
        similarity: "inner": <x, y>, as in SPARC; or "cosine".
        sparsity: As for `sparsify`.

    Returns:
        Groups c (B, n, e) and weights w (B, n, m), float32, or float64 where the inputs are. Where no token may be
        gathered both are 0.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `similarity` or `sparsity` is another, or dtypes, shapes or devices do not fit.
    """
    if similarity not in SIMILARITIES:
        raise ValueError(f"Similarity {similarity!r} is none of {', '.join(SIMILARITIES)}.")
    given = Given().floats("B n e", anchors=anchors).floats("B m e", tokens=tokens)
    given.floats("B n", threshold=threshold).optional_flags("B m", mask=mask)
    check_one_width(anchors=anchors, tokens=tokens)
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, tokens = at_least_float32(anchors), at_least_float32(tokens)
        if mask is not None:
            tokens = tokens.masked_fill(~mask.bool().unsqueeze(-1), 0)
        products = anchors @ tokens.transpose(1, 2) if similarity == "inner" else cosine_similarities(anchors, tokens)
        kept = sparsify(min_max_similarity(products, mask), threshold.to(products.dtype), sparsity)
        weights = kept / kept.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)
        return weights @ tokens, weights


def group_alignment(
    text_tokens: torch.Tensor,
    image_tokens: torch.Tensor,
    image_groups: torch.Tensor | None,
    text_groups: torch.Tensor | None,
    temperature: torch.Tensor | float,
    text_mask: torch.Tensor,
    negatives: str = "in_pair",
) -> torch.Tensor:
    """Instance-aware group alignment: each token and each patch is to know its own group among its pair's groups.

        1/2 [nce(C, T; tau) + nce(G, V; tau)], see `token_contrast`

    Args:
        text_tokens: T, (B, L, e).
        image_tokens: V, (B, P, e).
        image_groups: C, (B, L, e): what each of the report's tokens gathered; None leaves this direction out.
        text_groups: G, (B, P, e): what each patch gathered; None leaves this direction out.
        temperature: Temperature tau, above 0.
        text_mask: (B, L), True where a token is valid.
        negatives: "in_pair", as the abstract says; "batch" is an ablation.

    Returns:
        A scalar, float32, or float64 where the inputs are. Pairs without a valid token are left out.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If `negatives` is another, there are no groups, or dtypes, shapes, devices or the temperature do not
            fit.
    """
    given = Given().floats("B L e", text_tokens=text_tokens).floats("B P e", image_tokens=image_tokens)
    given.flags("B L", text_mask=text_mask)
    losses = []
    if image_groups is None and text_groups is None:
        raise ValueError("image_groups and text_groups are both None: give one of them at least.")
    if image_groups is not None:
        given.floats("B L e", image_groups=image_groups)
        losses.append(token_contrast(image_groups, text_tokens, temperature, text_mask, negatives))
    if text_groups is not None:
        given.floats("B P e", text_groups=text_groups)
        mask = mask_of_patches(text_mask, text_groups)
        losses.append(token_contrast(text_groups, image_tokens, temperature, mask, negatives))
    return torch.stack(losses).mean()


def cross_group_alignment(
    image_groups: torch.Tensor,
    text_groups: torch.Tensor,
    temperature: torch.Tensor | float,
    text_mask: torch.Tensor,
    attention_temperature: float = 0.1,
) -> torch.Tensor:
    """Bidirectional cross-modal grouped alignment: groups of each kind read those of the other, and are to know theirs.

        C^ = softmax(n(C) n(G)^T / tau_a) n(G),  G^ = softmax(n(G) n(C)^T / tau_a) n(C)
        1/2 [nce(C, C^; tau) + nce(G, G^; tau)]

    That the groups are aligned is the abstract's; the cross-attention is ours, after MGCA's alignment of tokens.

    Args:
        image_groups: C, (B, L, e): what each of the report's tokens gathered of the image.
        text_groups: G, (B, P, e): what each patch gathered of the report.
        temperature: Temperature tau, above 0.
        text_mask: (B, L), True where a token is valid.
        attention_temperature: Temperature tau_a, above 0.

    Returns:
        A scalar, float32, or float64 where the inputs are. Pairs without a valid token are left out.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes, devices or a temperature do not fit.
    """
    given = Given().floats("B L e", image_groups=image_groups).floats("B P e", text_groups=text_groups)
    given.flags("B L", text_mask=text_mask)
    given.temperature(temperature=temperature, attention_temperature=attention_temperature)
    patch_mask = mask_of_patches(text_mask, text_groups)
    sides = ((image_groups, text_groups, patch_mask, text_mask), (text_groups, image_groups, text_mask, patch_mask))
    losses = [
        token_contrast(
            own, read_across(own, F.normalize(other, dim=-1), attention_temperature, other_mask), temperature, own_mask
        )
        for own, other, other_mask, own_mask in sides
    ]
    return torch.stack(losses).mean()


def mask_of_patches(text_mask: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """(B, P) bool: every patch of (B, P, e), but none where the report (B, L) has no valid token to gather.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().flags("B L", text_mask=text_mask).floats("B P e", patches=patches)
    return text_mask.bool().any(dim=1, keepdim=True).expand(patches.shape[:2])


def pooled_groups(groups: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean (B, e) over the valid groups of (B, n, e); for the ablation that aligns the means across the batch.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If dtypes, shapes or devices do not fit.
    """
    Given().floats("B n e", groups=groups).optional_flags("B n", mask=mask)
    if mask is None:
        return groups.mean(dim=1)
    weights = mask.to(groups.dtype).unsqueeze(-1)
    return (groups * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
