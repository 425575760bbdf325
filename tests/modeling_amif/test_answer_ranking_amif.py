import pytest
import torch
from small_models import WIDTH, padded, small_inputs, small_model

from amif.modeling_amif.answer_ranking_amif import AnswerScorer

# Prefixes of each other, duplicates, one token, an empty answer, and one of 40 tokens.
ANSWERS = [[5], [5, 6], [5, 6, 7], [8, 9], [5, 6], [10], [8], [11, 12, 13, 14], [6, 5], [], list(range(20, 60))]


def naive_scores(model, inputs, answers, score):
    """Each answer by itself through the training forward, token by token."""
    columns = []
    for answer in answers:
        labels = torch.tensor([[101, *answer, 102]]).expand(len(inputs["input_ids"]), -1)
        log_probs = model(**inputs, labels=labels).logits.log_softmax(-1)
        total = sum(log_probs[:, i].gather(1, labels[:, i + 1 : i + 2])[:, 0] for i in range(labels.shape[1] - 1))
        columns.append(total / (labels.shape[1] - 1) if score == "mean" else total)
    return torch.stack(columns, dim=1)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.mark.parametrize("method", ["exhaustive", "search"])
@pytest.mark.parametrize("score", ["sum", "mean"])
@torch.no_grad()
def test_equals_naive_scores_with_stable_order(model, method, score):
    inputs = small_inputs(questions=5)
    expected = naive_scores(model, inputs, ANSWERS, score).sort(dim=1, descending=True, stable=True)
    ranking = model.rank_answers(**inputs, answers=padded(ANSWERS), top_k=99, method=method, score=score)
    assert ranking.indices.shape == (5, len(ANSWERS)), "top_k is at most the number of candidates"
    torch.testing.assert_close(ranking.scores, expected.values, rtol=0, atol=1e-4)
    assert torch.equal(ranking.indices, expected.indices)
    best = model.rank_answers(**inputs, answers=padded(ANSWERS), top_k=3, method=method, score=score)
    assert torch.equal(best.indices, expected.indices[:, :3])


@pytest.mark.parametrize("method", ["exhaustive", "search"])
@pytest.mark.parametrize("score", ["sum", "mean"])
def test_own_candidates_are_ranked_as_each_question_alone(method, score):
    model, inputs = small_model(seed=3), small_inputs(questions=6, images=2)
    own = [[0, 3, 9], [5], [4, 1, 2], list(range(len(ANSWERS))), [7, 10], [1, 4]]
    mask = torch.zeros(6, len(ANSWERS), dtype=torch.bool)
    for question, places in enumerate(own):
        mask[question, places] = True
    options = {"top_k": 4, "method": method, "score": score}
    together = model.rank_answers(**inputs, answers=padded(ANSWERS), answer_mask=mask, **options)
    assert together.indices.shape == together.scores.shape == (6, 4)
    for question, places in enumerate(map(sorted, own)):
        text = {name: inputs[name][[question]] for name in ("input_ids", "attention_mask", "image_index")}
        answers = padded([ANSWERS[place] for place in places])
        alone = model.rank_answers(inputs["pixel_values"], **text, answers=answers, **options)
        number = alone.indices.shape[1]
        assert number == min(4, len(places))
        assert together.indices[question, :number].tolist() == [places[index] for index in alone.indices[0]]
        torch.testing.assert_close(together.scores[question, :number], alone.scores[0], rtol=0, atol=1e-5)
        assert together.indices[question, number:].tolist() == [-1] * (4 - number)
        assert together.scores[question, number:].tolist() == [-torch.inf] * (4 - number)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (torch.ones(3, 2, dtype=torch.bool), r"\(3, 2\) torch.bool, and there are 4 texts and 2 candidates"),
        (torch.ones(4, 2, dtype=torch.long), "give a bool"),
        (torch.tensor([[True, True]] * 3 + [[False, False]]), "Row 3 .* no candidate"),
    ],
)
def test_a_mask_that_fits_no_question_is_refused(model, mask, said):
    with pytest.raises(ValueError, match=said):
        model.rank_answers(**small_inputs(), answers=padded([[5], [6]]), answer_mask=mask)


@pytest.mark.parametrize("method", ["exhaustive", "search"])
def test_score_is_minus_the_loss(model, method):
    inputs, answers = small_inputs(questions=1, images=1), padded([[7, 8, 9]])
    ranking = model.rank_answers(**inputs, answers=answers, method=method)
    loss = model(**inputs, labels=answers["input_ids"]).loss
    torch.testing.assert_close(ranking.scores[0, 0], -loss.detach())
    assert ranking.indices.tolist() == [[0]]


@torch.no_grad()
def test_log_probabilities_of_tokens_are_those_of_the_whole_vocabulary(model):
    scorer = AnswerScorer(model.decoder, torch.randn(1, 4, WIDTH["hidden_size"]), torch.ones(1, 4), 101)
    hidden, places, tokens = 9 * torch.randn(5, WIDTH["hidden_size"]), [0, 0, 2, 4, 4], [3, 80, 119, 0, 102]
    found = scorer.token_log_probs(hidden, places, tokens)
    torch.testing.assert_close(found, scorer.log_probs(hidden)[places, tokens], rtol=0, atol=1e-4)
    hidden[2] = torch.nan
    with pytest.raises(ValueError, match="scores are not finite"):
        scorer.token_log_probs(hidden, places, tokens)


@pytest.mark.parametrize("method", ["exhaustive", "search"])
def test_ties_keep_the_order_of_candidates(model, method):
    ranking = model.rank_answers(
        **small_inputs(), answers=padded([[9], [5, 6], [5, 6], [5, 6]]), top_k=4, method=method
    )
    for row in ranking.indices.tolist():
        assert [index for index in row if index != 0] == [1, 2, 3]


@pytest.mark.parametrize("method", ["exhaustive", "search"])
def test_neither_batch_nor_padding_changes_a_ranking(model, method):
    inputs, answers = small_inputs(questions=4, images=2), padded(ANSWERS)
    together = model.rank_answers(**inputs, answers=answers, top_k=5, method=method)
    for i in range(4):
        length = int(inputs["attention_mask"][i].sum())
        alone = model.rank_answers(
            inputs["pixel_values"][inputs["image_index"][i]][None],
            inputs["input_ids"][i : i + 1, :length],
            answers=answers,
            top_k=5,
            method=method,
        )
        assert torch.equal(alone.indices[0], together.indices[i])
        torch.testing.assert_close(alone.scores[0], together.scores[i], rtol=0, atol=1e-4)


@pytest.mark.parametrize("wrong", [{"method": "guess"}, {"score": "median"}])
def test_wrong_arguments_name_the_choices(model, wrong):
    with pytest.raises(ValueError, match="choose from"):
        model.rank_answers(**small_inputs(), **({"answers": padded([[5]])} | wrong))


def test_no_candidates_refuse(model):
    nothing = {"input_ids": torch.zeros(0, 3), "attention_mask": torch.zeros(0, 3)}
    with pytest.raises(ValueError, match="one candidate at least"):
        model.rank_answers(**small_inputs(), answers=nothing)
