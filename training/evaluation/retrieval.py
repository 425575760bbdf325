"""Retrieval between images and reports: how often what belongs together is among the nearest."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch

from .bootstrap import bootstrap_ci95
from .prediction_rows import Row

RANKS = (1, 5, 10)


def first_hits(similarity: torch.Tensor, relevant: torch.Tensor) -> np.ndarray:
    """(n,) rank, from 1, of the best relevant column of each row.

    An irrelevant column that is as similar ranks before it, so that a model to which everything is alike finds nothing.

    Args:
        similarity: (n, m).
        relevant: (n, m) bool, at least one True in each row.
    """
    best = similarity.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True)
    return 1 + ((similarity >= best) & ~relevant).sum(dim=1).numpy()


def retrieval_metrics(
    images: torch.Tensor, texts: torch.Tensor, groups: Sequence[Hashable], study_ids: Sequence[str]
) -> Row:
    """Recall both ways, among all pairs.

    Args:
        images: (n, d) unit vectors.
        texts: (n, d) unit vectors, of the same pairs.
        groups: n; a report of the same group as an image's own is a hit as well.
        study_ids: n; intervals are from a bootstrap that draws studies as queries, among unchanged pairs.

    Returns:
        `n`; `image_to_text` and `text_to_image`, each with `recall@1`, `@5`, `@10` as `{"recall", "ci95", "n"}` in
        percent and `median_rank`; `chance@1`, `@5`, `@10`: the recall of a random order, in percent.

    Raises:
        ValueError: where the numbers differ, or there are no pairs.
    """
    if not len(images) == len(texts) == len(groups) == len(study_ids) or not len(images):
        raise ValueError(
            f"{len(images)} images, {len(texts)} reports, {len(groups)} groups and {len(study_ids)} study ids: give as "
            "many of each, and at least one."
        )
    places: dict[Hashable, int] = {}
    numbers = torch.tensor([places.setdefault(group, len(places)) for group in groups])
    relevant = numbers.unsqueeze(1) == numbers
    similarity = images.float() @ texts.float().T
    ways = {"image_to_text": similarity, "text_to_image": similarity.T}
    return {
        "n": len(images),
        **{way: _recalls(first_hits(matrix, relevant), study_ids) for way, matrix in ways.items()},
        **{f"chance@{k}": _chance(relevant.sum(dim=1).numpy(), k) for k in RANKS},
    }


def _recalls(ranks: np.ndarray, study_ids: Sequence[str]) -> Row:
    recalls = {}
    for k in RANKS:
        hits = ranks <= k
        interval = bootstrap_ci95(hits, study_ids)
        recalls[f"recall@{k}"] = {"recall": float(100 * hits.mean()), "ci95": list(interval), "n": len(ranks)}
    return recalls | {"median_rank": float(np.median(ranks))}


def _chance(counts: np.ndarray, k: int) -> float:
    """Mean probability, in percent, that k of n in random order hold one of a row's `counts` relevant ones."""
    n = len(counts)
    misses = np.ones(n)
    for drawn in range(min(k, n)):
        misses *= np.clip((n - counts - drawn) / (n - drawn), 0, 1)
    return float(100 * (1 - misses).mean())
