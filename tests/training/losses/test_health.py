import math

import pytest
import torch
import torch.nn.functional as F

from amif.training.losses import (
    SKIPPED,
    contrast_accuracy,
    matching_accuracy,
    mean_token_cosine,
    plan_entropy,
    retrieval_recall,
    transport_plan,
)


def test_mean_token_cosine_equals_a_naive_loop():
    torch.manual_seed(0)
    tokens, mask = torch.randn(3, 4, 5), torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 0]])
    means = []
    for example, valid in zip(tokens, mask.bool(), strict=True):
        kept = example[valid]
        pairs = [
            F.cosine_similarity(kept[i], kept[j], dim=0) for i in range(len(kept)) for j in range(len(kept)) if i != j
        ]
        if pairs:
            means.append(sum(pairs) / len(pairs))
    tokens[~mask.bool()] = torch.nan
    torch.testing.assert_close(mean_token_cosine(tokens, mask), sum(means) / len(means))


def test_mean_token_cosine_tells_collapse():
    token = torch.randn(1, 1, 8)
    assert mean_token_cosine(token.repeat(2, 6, 1)).item() == pytest.approx(1)
    assert mean_token_cosine(torch.eye(6).unsqueeze(0)).item() == pytest.approx(0)


def test_plan_entropy_known_values():
    uniform = torch.full((1, 4, 6), 1 / 24)
    assert plan_entropy(uniform).item() == pytest.approx(1)
    assert plan_entropy(torch.eye(5).unsqueeze(0) / 5).item() == pytest.approx(math.log(5) / math.log(25))
    padded = F.pad(uniform, (0, 3, 0, 2))
    assert plan_entropy(padded).item() == pytest.approx(1)
    assert plan_entropy(torch.cat([padded, torch.zeros_like(padded)])).item() == pytest.approx(1)


def test_an_exact_plan_is_less_spread_than_a_smooth_one():
    cost = torch.rand(2, 12, 9)
    exact, smooth = (plan_entropy(transport_plan(cost, solver=solver)) for solver in ("emd", "sinkhorn"))
    assert exact < math.log(12 + 9 - 1) / math.log(12 * 9)
    assert exact < smooth < 1


def naive_recall(similarity, k, relevant):
    hits = 0
    for row, hit in zip(similarity.tolist(), relevant.tolist(), strict=True):
        best_first = sorted(range(len(row)), key=lambda column: (-row[column], hit[column]))
        hits += any(hit[column] for column in best_first[:k])
    return hits / len(similarity)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_retrieval_recall_equals_sorting(k):
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randint(0, 6, (40, 12), generator=generator).float()  # many ties
    relevant = torch.rand(40, 12, generator=generator) < 0.15
    assert retrieval_recall(similarity, k, relevant).item() == pytest.approx(naive_recall(similarity, k, relevant))
    assert not relevant.any(1).all()  # some rows have nothing to find


def test_retrieval_recall_of_the_diagonal():
    similarity = torch.tensor([[3.0, 1.0, 2.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert [retrieval_recall(similarity, k).item() for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("value", [0.5, torch.nan])
def test_a_model_to_which_all_is_alike_finds_nothing(value):
    assert retrieval_recall(torch.full((8, 8), value)).item() == 0


def test_matching_accuracy_leaves_skipped_pairs_out():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert matching_accuracy(logits, torch.tensor([0, 0, 1, SKIPPED])).item() == pytest.approx(2 / 3)
    assert matching_accuracy(logits, torch.full((4,), SKIPPED)).isnan()


def test_contrast_accuracy_counts_tokens_whose_partner_is_nearest():
    first = torch.eye(4).unsqueeze(0)
    assert contrast_accuracy(first, first) == 1
    swapped = first[:, [1, 0, 2, 3]]
    assert contrast_accuracy(first, swapped) == 0.5
    mask = torch.tensor([[True, False, True, False]])
    assert contrast_accuracy(first, swapped, mask) == 0.5
    assert contrast_accuracy(torch.ones(2, 3, 4), torch.ones(2, 3, 4)) == 0, "tokens which are all alike find nothing"
