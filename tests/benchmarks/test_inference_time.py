"""Time of one question about one image at the paper's size; weights are random, which changes no amount of work."""

import pytest
import torch

from amif import AmifConfig, AmifForVisualQuestionAnswering

pytestmark = pytest.mark.slow

QUESTION_TOKENS, KNOWLEDGE_TOKENS, CANDIDATES, ANSWER_TOKENS = 16, 1_000, 400, 4


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def model(request):
    torch.manual_seed(0)
    model = AmifForVisualQuestionAnswering(AmifConfig()).eval().to(request.param)
    model.set_knowledge(torch.randint(1_000, 28_000, (KNOWLEDGE_TOKENS,)))
    return model


@pytest.fixture
def inputs(model):
    image = torch.rand(1, 3, 288, 288, dtype=model.dtype)
    return {"pixel_values": image, "input_ids": torch.randint(1_000, 28_000, (1, QUESTION_TOKENS))}


def test_generate_an_answer(benchmark, model, inputs):
    options = {"min_new_tokens": ANSWER_TOKENS, "max_new_tokens": ANSWER_TOKENS}
    tokens = benchmark.pedantic(lambda: model.generate(**inputs, **options), rounds=5, warmup_rounds=1)
    assert tokens.shape == (1, 1 + ANSWER_TOKENS)


def test_rank_answers(benchmark, model, inputs):
    words = torch.randint(1_000, 28_000, (CANDIDATES, ANSWER_TOKENS))
    ends = [torch.full((CANDIDATES, 1), token) for token in (101, 102)]
    candidates = torch.cat([ends[0], words, ends[1]], dim=1)
    answers = {"input_ids": candidates, "attention_mask": torch.ones_like(candidates)}
    ranking = benchmark.pedantic(
        lambda: model.rank_answers(**inputs, answers=answers, method="exhaustive"), rounds=3, warmup_rounds=1
    )
    assert ranking.scores.isfinite().all()
