import random

import pytest
import torch
from small_models import VOCABULARY, WIDTH, padded, small_inputs, small_model
from transformers import BertConfig, RobertaConfig

from amif.modeling_amif import answer_search_amif
from amif.modeling_amif.answer_ranking_amif import AnswerScorer, rank_exhaustively
from amif.modeling_amif.answer_search_amif import CandidateTrie, rank_by_search


def random_answers(seed: int) -> list[list[int]]:
    """Few different tokens, so that answers share beginnings, repeat, and begin with each other; some are long."""
    chance = random.Random(seed)
    alphabet = range(3, chance.choice([5, 8, 40]))
    longest = chance.choice([1, 3, 6])
    answers = [
        [chance.choice(alphabet) for _ in range(chance.randint(0, longest))] for _ in range(chance.randint(1, 60))
    ]
    answers += [[chance.choice(alphabet) for _ in range(40)] for _ in range(chance.randint(0, 2))]
    answers += chance.choices(answers, k=chance.randint(0, 3))
    return chance.sample(answers, len(answers))


def sharpened(factor: float, seed: int = 0):
    """A model whose distributions are sharper, as a trained one's, or flatter."""
    model = small_model(seed=seed)
    with torch.no_grad():
        model.decoder.get_output_embeddings().weight.mul_(factor)
    return model


@pytest.fixture(scope="module")
def models():
    return [sharpened(factor, seed) for seed, factor in enumerate([0.1, 1.0, 4.0])]


@pytest.fixture
def small_waves(monkeypatch):
    monkeypatch.setattr(answer_search_amif, "FIRST_WAVE", 1)
    monkeypatch.setattr(answer_search_amif, "LARGEST_WAVE", 11)
    monkeypatch.setattr(answer_search_amif, "TOKENS_PER_HEAD_PASS", 3)


def assert_same_ranking(model, inputs, answers, top_k, score, tolerance=1e-4):
    arguments = {"answers": padded(answers), "top_k": top_k, "score": score}
    expected = model.rank_answers(**inputs, **arguments, method="exhaustive")
    found = model.rank_answers(**inputs, **arguments, method="search")
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=tolerance)
    assert torch.equal(found.indices, expected.indices)


@pytest.mark.parametrize("score", ["sum", "mean"])
@pytest.mark.parametrize("seed", range(12))
def test_equals_exhaustive_on_random_candidates(models, seed, score):
    inputs = small_inputs(questions=seed % 6 + 1, images=seed % 3 + 1, seed=seed)
    assert_same_ranking(models[seed % 3], inputs, random_answers(seed), (1, 5, 99)[seed % 3], score)


@pytest.mark.usefixtures("small_waves")
@pytest.mark.parametrize("score", ["sum", "mean"])
@pytest.mark.parametrize("seed", range(100, 112))
def test_equals_exhaustive_in_many_small_waves(models, seed, score):
    inputs = small_inputs(questions=seed % 6 + 1, images=seed % 3 + 1, seed=seed)
    assert_same_ranking(models[seed % 3], inputs, random_answers(seed), (1, 5, 99)[seed // 3 % 3], score)


@pytest.mark.usefixtures("small_waves")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("decoder", ["bert", "roberta"])
def test_equals_exhaustive_with_other_decoders(attention, decoder):
    config_class = {"bert": BertConfig, "roberta": RobertaConfig}[decoder]
    config = config_class(vocab_size=VOCABULARY, max_position_embeddings=64, **WIDTH)
    model = small_model(decoder_config=config)
    model.set_attn_implementation(attention)
    # RoBERTa's position of a token depends on whether it is padding, 1: no answer holds it.
    assert_same_ranking(model, small_inputs(questions=5), random_answers(7), 9, "sum")


@pytest.mark.usefixtures("small_waves")
@pytest.mark.parametrize("score", ["sum", "mean"])
@torch.no_grad()
def test_candidates_that_begin_others_without_a_closing_token(models, score):
    candidates = [[5, 6, 7], [5], [5, 6], [5, 6, 7], [8], [5, 6, 7, 9, 9, 9], [8, 8]]
    states, mask = torch.randn(3, 9, WIDTH["hidden_size"]), torch.ones(3, 9)
    scorers = (AnswerScorer(models[1].decoder, states, mask, 101) for _ in range(2))
    expected = rank_exhaustively(next(scorers), candidates, 7, score)
    found = rank_by_search(next(scorers), candidates, 7, score)
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
    assert torch.equal(found.indices, expected.indices)


@pytest.mark.usefixtures("small_waves")
def test_equal_scores_keep_the_order_of_candidates():
    """A decoder for which all tokens are equal: the mean never differs, the sum by length only."""
    model, answers = small_model(), random_answers(11)
    with torch.no_grad():
        model.decoder.get_output_embeddings().weight.zero_()
        model.decoder.get_output_embeddings().bias.zero_()
    options = {"answers": padded(answers), "top_k": 99}
    mean = model.rank_answers(**small_inputs(), **options, score="mean").indices
    assert mean.tolist() == [list(range(len(answers)))] * 4
    by_length = sorted(range(len(answers)), key=lambda i: len(answers[i]))
    assert model.rank_answers(**small_inputs(), **options, score="sum").indices.tolist() == [by_length] * 4


def test_bfloat16_differs_by_its_rounding_only(models):
    """Scores agree to bfloat16's rounding of each token's logit; so does the score of whatever comes first."""
    inputs, answers = small_inputs(questions=6), random_answers(5)
    options = {"answers": padded(answers), "top_k": 3}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = models[1].rank_answers(**inputs, **options, method="exhaustive")
        found = models[1].rank_answers(**inputs, **options, method="search")
    torch.testing.assert_close(found.scores, expected.scores, rtol=0.03, atol=0.1)


class Passes:
    """What the decoder reads: (questions, tokens) of each pass, and how many tokens it remembered before."""

    def __init__(self, model):
        self.shapes, self.remembered = [], []
        self.hook = model.decoder.base_model.register_forward_pre_hook(self.note, with_kwargs=True)

    def note(self, module, args, kwargs):
        self.shapes.append(tuple(kwargs["input_ids"].shape))
        cache = kwargs.get("cache", kwargs.get("past_key_values"))  # by the release of transformers
        self.remembered.append(cache.get_seq_length())

    @property
    def tokens(self):
        return sum(rows * columns for rows, columns in self.shapes)


def test_a_sure_model_reads_one_small_wave():
    sure = small_model()
    with torch.no_grad():
        sure.decoder.get_output_embeddings().bias[[3, 40, 102]] += 60
    answers = [[i, j, k] for i in range(3, 33) for j in range(40, 50) for k in range(40, 45)]
    passes = Passes(sure)
    ranking = sure.rank_answers(**small_inputs(questions=1, images=1), answers=padded(answers))
    assert ranking.indices.tolist() == [[0]]
    assert passes.tokens < 1 + 3 * answer_search_amif.FIRST_WAVE, "of 1,831 prefixes"


def test_neither_a_pass_nor_what_is_remembered_grows_with_the_candidates(monkeypatch):
    """Bounds exclude nothing here, and every question reads the whole trie: in few rows, remembering little."""
    monkeypatch.setattr(answer_search_amif, "FIRST_WAVE", 16)
    monkeypatch.setattr(answer_search_amif, "LARGEST_WAVE", 64)
    model, chance = sharpened(0.01), random.Random(0)
    answers = [[chance.randrange(3, 60) for _ in range(4)] for _ in range(900)]
    passes = Passes(model)
    model.rank_answers(**small_inputs(questions=2), answers=padded(answers), top_k=900)
    prefixes = len({tuple(answer[:i]) for answer in answers for i in range(5)})
    assert prefixes <= passes.tokens / 2 < 1.2 * prefixes, "each prefix is read once, and little padding with it"
    assert max(rows * columns for rows, columns in passes.shapes) <= 64
    assert max(passes.remembered) < prefixes / 10


def test_prefixes_are_numbered_so_that_a_branch_is_a_range():
    answers = [(*answer, 102) for answer in random_answers(2)]
    trie = CandidateTrie(answers)
    paths = [()]
    for number in range(1, len(trie.tokens)):
        paths.append((*paths[trie.parents[number]], trie.tokens[number]))
    assert sorted(paths) == paths
    assert set(paths) == {answer[:i] for answer in answers for i in range(len(answer))}
    for number, path in enumerate(paths):
        below = [other for other, longer in enumerate(paths) if longer[: len(path)] == path]
        assert below == list(range(number, number + trie.sizes[number]))
        assert list(trie.branch(number, trie.sizes[number])) == below
        for step, token in zip(trie.steps[number], trie.step_tokens[number], strict=True):
            ends = [i for i, answer in enumerate(answers) if answer == (*path, token)]
            on = [i for i, answer in enumerate(answers) if answer[: len(path) + 1] == (*path, token) and i not in ends]
            assert step.complete == tuple(ends)
            assert (step.prefix is not None) == bool(on)
            if on:
                assert paths[step.prefix] == (*path, token)
                assert (step.first, step.longest) == (min(on), max(len(answers[i]) for i in on))


def test_a_branch_without_room_is_read_as_far_as_it_has_one_way_on():
    trie = CandidateTrie([(5, 6, 7, 8, 102), (5, 6, 7, 9, 102), (10, 102)])  # numbers: 5, 56, 567, 5678, 5679, 10
    assert list(trie.branch(1, 2)) == [1, 2]
    assert list(trie.branch(1, 4)) == [1, 2, 3]
    assert list(trie.branch(1, 5)) == [1, 2, 3, 4, 5]


@torch.no_grad()
def test_questions_that_go_on_keep_their_states_and_what_was_read(models):
    torch.manual_seed(0)
    states, mask = (
        torch.randn(3, 9, WIDTH["hidden_size"]),
        torch.tensor([[1.0] * length + [0.0] * (9 - length) for length in (9, 4, 6)]),
    )
    ids, positions = torch.tensor([[5, 6], [7, 8], [9, 10]]), torch.tensor([[1, 1]] * 3)
    visible = torch.tensor([[[True, True, False], [True, False, True]]] * 3)
    everyone, some = (AnswerScorer(models[1].decoder, states, mask, 101) for _ in range(2))
    expected = everyone.read_tree(ids, positions, visible)
    rows = torch.tensor([2, 0])
    some.select(rows)
    torch.testing.assert_close(some.read_tree(ids[rows], positions[rows], visible[rows]), expected[rows])
    assert not torch.allclose(expected[2], expected[0], atol=1e-3)
