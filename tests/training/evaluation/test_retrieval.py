import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from amif.training.evaluation.retrieval import first_hits, retrieval_metrics
from amif.training.reports.tables import retrieval_table


def unit_vectors(n, seed, width=6):
    vectors = torch.randn(n, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.fixture
def pairs():
    images = unit_vectors(40, 1)
    return images, torch.nn.functional.normalize(images + 0.6 * unit_vectors(40, 2), dim=-1)


def test_recalls_are_scikit_learns_top_k_accuracies(pairs):
    images, texts = pairs
    metrics = retrieval_metrics(images, texts, range(40), [str(i) for i in range(40)])
    similarity = (images @ texts.T).numpy()
    for way, matrix in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        for k in (1, 5, 10):
            found = getattr(metrics, way).recall[k]
            assert found.value == pytest.approx(100 * top_k_accuracy_score(np.arange(40), matrix, k=k))
            assert found.low <= found.value <= found.high
    assert 5 < metrics.image_to_text.recall[1].value < 95


def test_any_report_of_the_same_group_is_a_hit(pairs):
    images, texts = pairs
    groups = [i % 8 for i in range(40)]
    metrics = retrieval_metrics(images, texts, groups, [str(i) for i in range(40)])
    similarity, hits = images @ texts.T, 0
    for row in range(40):
        best = sorted(range(40), key=lambda column: -similarity[row, column].item())[:5]
        hits += any(groups[column] == groups[row] for column in best)
    assert metrics.image_to_text.recall[5].value == pytest.approx(100 * hits / 40)


def test_ranks_equal_a_loop_and_ties_go_against_the_model(pairs):
    images, texts = pairs
    similarity = images @ texts.T
    expected = [1 + sum(similarity[i, j] >= similarity[i, i] for j in range(40) if j != i) for i in range(40)]
    assert first_hits(similarity, torch.eye(40, dtype=torch.bool)).tolist() == [int(rank) for rank in expected]
    alike = retrieval_metrics(torch.ones(40, 3), torch.ones(40, 3), range(40), [str(i) for i in range(40)])
    assert alike.text_to_image.recall[10].value == 0
    assert alike.text_to_image.median_rank == 40


def test_chance_is_that_of_random_orders():
    groups, draws = [0] * 6 + [1] * 3 + [2], 4000
    metrics = retrieval_metrics(unit_vectors(10, 1), unit_vectors(10, 2), groups, list("abcdefghij"))
    generator = np.random.default_rng(0)
    for k in (1, 5):
        hits = [
            any(groups[column] == group for column in generator.permutation(10)[:k])
            for _ in range(draws)
            for group in groups
        ]
        assert metrics.chance[k] == pytest.approx(100 * np.mean(hits), abs=1)
    assert metrics.chance[10] == 100


def test_studies_are_drawn_whole(pairs):
    images, texts = (side.repeat_interleave(2, dim=0) for side in pairs)
    groups = [i // 2 for i in range(80)]
    whole = retrieval_metrics(images, texts, groups, [str(i // 2) for i in range(80)]).image_to_text.recall[1]
    apart = retrieval_metrics(images, texts, groups, [str(i) for i in range(80)]).image_to_text.recall[1]
    assert whole.value == apart.value
    assert np.diff(whole.ci95) > 1.2 * np.diff(apart.ci95)


def test_a_table_says_all_and_what_does_not_fit_is_refused(pairs):
    table = retrieval_table(retrieval_metrics(*pairs, range(40), [str(i) for i in range(40)]), "mine")
    assert len(table.rows) == 6
    assert "2.50 @1, 12.50 @5" in table.notes[0]
    with pytest.raises(ValueError, match="give as many of each"):
        retrieval_metrics(*pairs, range(39), [str(i) for i in range(40)])
