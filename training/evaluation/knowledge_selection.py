"""What a model selects from its knowledge vocabulary: where the true answer ranks in its attention, and the gate."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .results import Result


@dataclass(frozen=True)
class KnowledgeSelection(Result):
    """Means over `n` questions whose answer is an entry of the vocabulary.

    Attributes:
        entries: How many entries the vocabulary has.
        mean_rank: Of the true answer's entry by the question's attention, from 1, the most attended; ties share theirs.
        mean_rank_of_others: Of the other questions' true entries by the same attention: what an attention that is alike
            for all questions reaches, because some answers are frequent.
        chance: Mean rank by an attention that knows nothing, (entries + 1) / 2.
        gate_mean: Mean of the gate's values over tokens and width; None without a gate.
        gate_std: Their standard deviation; None without a gate.
        varying_share: Share of the power of the cross-attention's output that varies between tokens, 0 where it adds
            the same vector to all.
        n: Questions.
    """

    entries: int
    mean_rank: float
    mean_rank_of_others: float
    chance: float
    gate_mean: float | None
    gate_std: float | None
    varying_share: float
    n: int


def entry_numbers(knowledge_ids: torch.Tensor, end: int) -> torch.Tensor:
    """For each token of a vocabulary the number of its entry, from 0, and -1 for the `end` that closes one.

    Args:
        knowledge_ids: (M,) int64, entries each closed by `end`.
        end: The token that closes an entry.
    """
    closes = knowledge_ids == end
    return (closes.cumsum(0) - closes.long()).masked_fill(closes, -1)


def entry_weights(weights: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """An entry's weight, the mean of its tokens' weights, so that a long entry is not heavier for its length.

    Args:
        weights: (..., M) attention over the vocabulary.
        entries: (M,) of `entry_numbers`.

    Returns:
        (..., entries).
    """
    spoken = entries >= 0
    counts = torch.bincount(entries[spoken])
    sums = weights.new_zeros(*weights.shape[:-1], len(counts))
    return sums.index_add(-1, entries[spoken], weights[..., spoken]) / counts


def mean_ranks(weights: torch.Tensor, true: torch.Tensor) -> tuple[float, float]:
    """Mean rank of each question's true entry by its own weights, and that of the other questions' true entries.

    Args:
        weights: (n, entries), two questions at least.
        true: (n,) int64, the entry that answers each question.
    """
    ranks = torch.stack(
        [(row > row[:, None]).sum(1) + ((row == row[:, None]).sum(1) + 1) / 2 for row in weights.double()]
    )
    own = ranks.gather(1, true[:, None]).squeeze(1)
    others = (ranks[:, true].sum(1) - own) / (len(true) - 1)
    return float(own.mean()), float(others.mean())


def knowledge_selection(
    weights: torch.Tensor, true: Sequence[int], attended: torch.Tensor, gate: torch.Tensor | None
) -> KnowledgeSelection:
    """The figures of a set of questions.

    Args:
        weights: (n, entries) of `entry_weights`, mean over heads and tokens of each question.
        true: The entry that answers each question.
        attended: (tokens, d) what the cross-attention adds to every token of them.
        gate: (tokens, d) the gate's values of the same; None without a gate.

    Raises:
        ValueError: If there are not two questions.
    """
    if len(true) < 2:
        raise ValueError(f"{len(true)} questions are answered by an entry of the vocabulary: ranks need two at least.")
    mean_rank, mean_rank_of_others = mean_ranks(weights, torch.tensor(true))
    varying = (attended - attended.mean(0)).square().sum() / attended.square().sum()
    return KnowledgeSelection(
        entries=weights.shape[1],
        mean_rank=mean_rank,
        mean_rank_of_others=mean_rank_of_others,
        chance=(weights.shape[1] + 1) / 2,
        gate_mean=None if gate is None else float(gate.mean()),
        gate_std=None if gate is None else float(gate.std(correction=0)),
        varying_share=float(varying),
        n=len(true),
    )
