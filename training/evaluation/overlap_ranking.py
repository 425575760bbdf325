"""Do embeddings rank other studies by how much of what is seen they share?"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr


def overlap_of_visible(visible: Sequence[Sequence[str | None]]) -> np.ndarray:
    """Jaccard overlap (n, n) of what is seen in n studies, each given as the values of the same properties, or None."""
    seen = [{(name, value) for name, value in enumerate(study) if value is not None} for study in visible]
    return np.array([[len(a & b) / max(len(a | b), 1) for b in seen] for a in seen])


def mean_rank_correlation(similarity: np.ndarray, overlap: np.ndarray) -> float:
    """Spearman's correlation of a study's similarities and overlaps with all other studies, mean over studies.

    Args:
        similarity: (n, n), a row the similarities of one study with all; the diagonal is not read.
        overlap: (n, n), likewise.

    Returns:
        -1 to 1. A study that is equally similar to all others, or shares equally much with them, does not count; NaN
        where that leaves none.
    """
    correlations = []
    for study in range(len(similarity)):
        row, shared = np.delete(similarity[study], study), np.delete(overlap[study], study)
        if np.ptp(row) > 0 and np.ptp(shared) > 0:
            correlations.append(spearmanr(row, shared).statistic)
    return float(np.mean(correlations)) if correlations else math.nan


__all__ = ["mean_rank_correlation", "overlap_of_visible"]
