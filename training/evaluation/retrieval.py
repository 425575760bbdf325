"""Retrieval between images and reports: how often what belongs together is among the nearest."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .bootstrap import bootstrap_ci95
from .finite import check_finite
from .results import Interval, Result

RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Recalls(Result):
    """Retrieval one way: by each of `RANKS` the share of queries with a hit among so many, and the median first hit."""

    recall: dict[int, Interval]
    median_rank: float

    def json_fields(self) -> Mapping[str, object]:
        """`recall@1` and so on, and `median_rank`."""
        return {**{f"recall@{k}": recall for k, recall in self.recall.items()}, "median_rank": self.median_rank}


@dataclass(frozen=True)
class RetrievalMetrics(Result):
    """Recall both ways, among all pairs.

    Attributes:
        n: Pairs.
        image_to_text: Reports found for images.
        text_to_image: Images found for reports.
        chance: By each of `RANKS` the recall of a random order, in percent.
    """

    n: int
    image_to_text: Recalls
    text_to_image: Recalls
    chance: dict[int, float]

    def json_fields(self) -> Mapping[str, object]:
        """The fields by name, and `chance@1` and so on."""
        recalls = {"n": self.n, "image_to_text": self.image_to_text, "text_to_image": self.text_to_image}
        return {**recalls, **{f"chance@{k}": chance for k, chance in self.chance.items()}}


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
) -> RetrievalMetrics:
    """Recall both ways, among all pairs.

    Args:
        images: (n, d) unit vectors.
        texts: (n, d) unit vectors, of the same pairs.
        groups: N; a report of the same group as an image's own is a hit as well.
        study_ids: N; intervals are from a bootstrap that draws studies as queries, among unchanged pairs.

    Raises:
        ValueError: If the numbers differ, there are no pairs, or a vector is not finite.
    """
    if not len(images) == len(texts) == len(groups) == len(study_ids) or not len(images):
        raise ValueError(
            f"{len(images)} images, {len(texts)} reports, {len(groups)} groups and {len(study_ids)} study ids: give as "
            "many of each, and at least one."
        )
    check_finite(images.float().numpy(), study_ids, "embeddings of the image")
    check_finite(texts.float().numpy(), study_ids, "embeddings of the report")
    places: dict[Hashable, int] = {}
    numbers = torch.tensor([places.setdefault(group, len(places)) for group in groups])
    relevant = numbers.unsqueeze(1) == numbers
    similarity = images.float() @ texts.float().T
    return RetrievalMetrics(
        n=len(images),
        image_to_text=_recalls(first_hits(similarity, relevant), study_ids),
        text_to_image=_recalls(first_hits(similarity.T, relevant), study_ids),
        chance={k: _chance(relevant.sum(dim=1).numpy(), k) for k in RANKS},
    )


def _recalls(ranks: np.ndarray, study_ids: Sequence[str]) -> Recalls:
    recalls = {}
    for k in RANKS:
        hits = ranks <= k
        low, high = bootstrap_ci95(hits, study_ids)
        recalls[k] = Interval(float(100 * hits.mean()), low, high, len(ranks), "recall")
    return Recalls(recalls, float(np.median(ranks)))


def _chance(counts: np.ndarray, k: int) -> float:
    """Mean probability, in percent, that k of n in random order hold one of a row's `counts` relevant ones."""
    n = len(counts)
    misses = np.ones(n)
    for drawn in range(min(k, n)):
        misses *= np.clip((n - counts - drawn) / (n - drawn), 0, 1)
    return float(100 * (1 - misses).mean())
