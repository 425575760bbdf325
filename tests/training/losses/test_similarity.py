import torch
import torch.nn.functional as F

from amif.training.losses import cosine_similarities


def test_equals_pairwise_cosines():
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 3, 5), torch.randn(2, 4, 5)
    expected = torch.stack(
        [torch.stack([F.cosine_similarity(query, keys[b], dim=-1) for query in queries[b]]) for b in range(2)]
    )
    torch.testing.assert_close(cosine_similarities(queries, keys), expected)


def test_autocast_does_not_lower_its_precision():
    torch.manual_seed(0)
    tokens = torch.randn(6, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cosine_similarities(tokens, tokens)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, cosine_similarities(tokens, tokens), rtol=0, atol=0)


def test_a_vanishing_vector_is_like_nothing_and_keeps_the_gradient_finite():
    queries = torch.zeros(1, 4, requires_grad=True)
    similarities = cosine_similarities(queries, torch.randn(3, 4))
    similarities.sum().backward()
    assert torch.equal(similarities, torch.zeros(1, 3))
    assert queries.grad.isfinite().all()
