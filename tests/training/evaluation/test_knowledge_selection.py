import pytest
import torch

from amif.training.evaluation.knowledge_selection import (
    entry_numbers,
    entry_weights,
    knowledge_selection,
    mean_ranks,
)

END = 9


def test_entries_end_where_they_are_closed_and_weigh_as_the_mean_of_their_tokens():
    entries = entry_numbers(torch.tensor([4, 5, END, 6, END]), END)
    assert entries.tolist() == [0, 0, -1, 1, -1]
    weights = torch.tensor([[0.1, 0.3, 0.2, 0.15, 0.25], [0.0, 0.0, 0.5, 0.5, 0.0]])
    torch.testing.assert_close(entry_weights(weights, entries), torch.tensor([[0.2, 0.15], [0.0, 0.5]]))


def test_ranks_equal_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(0, 5, (6, 8), generator=generator).float()  # with ties
    true = torch.randint(0, 8, (6,), generator=generator)

    def rank(row, entry):
        heavier = sum(float(other) > float(row[entry]) for other in row)
        alike = sum(float(other) == float(row[entry]) for other in row)
        return heavier + (1 + alike) / 2

    own = [rank(weights[i], true[i]) for i in range(6)]
    others = [rank(weights[i], true[j]) for i in range(6) for j in range(6) if i != j]
    assert mean_ranks(weights, true) == pytest.approx((sum(own) / 6, sum(others) / 30))


def test_figures_of_attention_that_is_right_and_of_attention_that_is_alike():
    gate = torch.tensor([[0.2, 0.4], [0.6, 0.8]])
    right = knowledge_selection(torch.eye(3), [0, 1, 2], torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), gate)
    assert (right.mean_rank, right.mean_rank_of_others, right.chance, right.n) == (1.0, 2.5, 2.0, 3)
    assert (right.gate_mean, right.gate_std) == pytest.approx((0.5, 0.05**0.5))
    assert right.varying_share == 1.0
    alike = knowledge_selection(torch.ones(2, 3), [0, 2], torch.ones(4, 2), None)
    assert (alike.mean_rank, alike.mean_rank_of_others, alike.varying_share, alike.gate_mean) == (2.0, 2.0, 0.0, None)


def test_one_question_has_no_others():
    with pytest.raises(ValueError, match="1 questions"):
        knowledge_selection(torch.eye(2), [0], torch.ones(1, 2), None)
