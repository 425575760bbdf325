import random

import pytest
import torch
from small_models import VOCABULARY, WIDTH, padded, small_inputs, small_model
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, RobertaConfig

from amif.modeling_amif import answer_search_amif
from amif.modeling_amif.answer_ranking_amif import AnswerScorer, candidate_tokens, rank_exhaustively
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


def tokens_of(candidates) -> torch.Tensor:
    """Lists of token ids as `candidate_tokens` gives them."""
    return pad_sequence([torch.tensor(tokens) for tokens in candidates], batch_first=True, padding_value=-1)


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
    tokens = tokens_of(candidates)
    expected = rank_exhaustively(next(scorers), tokens, 7, score)
    found = rank_by_search(next(scorers), tokens, 7, score)
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


def test_an_unsure_model_reads_little_more_than_it_must():
    """Two tokens of a flat model beat any three, so no prefix of three can win, and most of those that begin it not."""
    chance = random.Random(0)
    short = [[token] for token in range(3, 60)]
    long = [[chance.randrange(3, 60) for _ in range(6)] for _ in range(900)]
    model, inputs = sharpened(0.01), small_inputs(questions=1, images=1)
    passes = Passes(model)
    found = model.rank_answers(**inputs, answers=padded(short + long))
    assert passes.tokens < len(short) + 3 * answer_search_amif.FIRST_WAVE, "of some 4,500 prefixes"
    assert torch.equal(found.indices, model.rank_answers(**inputs, answers=padded(short), method="exhaustive").indices)


def test_what_was_read_alone_is_read_again_where_the_search_goes_on(monkeypatch):
    """Every first token is unlikely, so prefixes are read alone; the next ones are sure."""
    monkeypatch.setattr(answer_search_amif, "FIRST_WAVE", 1)
    again, beginnings = [], answer_search_amif._Search._forgotten_beginnings

    def noted(*place):
        again.append(beginnings(*place))
        return again[-1]

    monkeypatch.setattr(answer_search_amif._Search, "_forgotten_beginnings", noted)
    model = small_model()
    with torch.no_grad():
        model.decoder.get_output_embeddings().bias[[70, 71, 72, 102]] += 25
    answers = [[token] for token in range(3, 9)] + [[token, 70, 71, 72, 30, 72] for token in range(3, 60)]
    assert_same_ranking(model, small_inputs(questions=3), answers, 8, "sum")
    assert max(map(len, again)) > 1


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


@pytest.mark.parametrize(("seed", "closing"), [(2, (102,)), (2, ()), (0, (102,)), (5, ()), (8, ())])
def test_prefixes_are_numbered_so_that_a_branch_is_a_range(seed, closing):
    """Without the closing token candidates begin each other."""
    answers = [(*answer, *closing) for answer in random_answers(seed) if answer or closing]
    trie = CandidateTrie(tokens_of(answers))
    paths = [()]
    for number in range(1, len(trie.tokens)):
        paths.append((*paths[trie.parents[number]], trie.tokens[number]))
    assert sorted(paths) == paths
    assert set(paths) == {answer[:i] for answer in answers for i in range(len(answer))}
    for number, path in enumerate(paths):
        below = [other for other, longer in enumerate(paths) if longer[: len(path)] == path]
        assert below == list(range(number, number + trie.sizes[number]))
        assert list(trie.branch(number, trie.sizes[number])) == below
        following = {longer[len(path)] for longer in answers if longer[: len(path)] == path and len(longer) > len(path)}
        assert sorted(trie.following(number)) == sorted(following)
        for step in trie.steps(number):
            longer = (*path, trie.step_tokens[step])
            ends = [i for i, answer in enumerate(answers) if answer == longer]
            on = [i for i, answer in enumerate(answers) if answer[: len(longer)] == longer and i not in ends]
            assert list(trie.complete(step)) == ends
            prefix = trie.step_prefixes[step]
            assert (prefix >= 0) == bool(on)
            if on:
                assert paths[prefix] == longer
                assert (trie.first[prefix], trie.longest[prefix]) == (min(on), max(len(answers[i]) for i in on))


def test_a_branch_without_room_is_read_as_far_as_it_has_one_way_on():
    trie = CandidateTrie(
        tokens_of([(5, 6, 7, 8, 102), (5, 6, 7, 9, 102), (10, 102)])
    )  # numbers: 5, 56, 567, 5678, 5679, 10
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


@torch.no_grad()
def test_the_trie_of_a_list_is_made_once_and_of_another_order_anew(models, monkeypatch):
    made = []
    monkeypatch.setattr(
        answer_search_amif, "CandidateTrie", lambda tokens: made.append(tokens) or CandidateTrie(tokens)
    )
    answers, options = [[61, 62], [61], [63, 64, 65]], {"top_k": 3}
    first, again = (models[1].rank_answers(**small_inputs(), answers=padded(answers), **options) for _ in range(2))
    turned = models[1].rank_answers(**small_inputs(), answers=padded(answers[::-1]), **options)
    assert len(made) == 2
    assert torch.equal(first.indices, again.indices)
    assert torch.equal(first.indices, 2 - turned.indices)


def test_hundreds_of_answers_that_begin_each_other_are_ranked_as_one_by_one(models):
    chance = random.Random(3)
    answers = [[chance.randrange(3, 12) for _ in range(chance.choice([0, 1, 1, 2, 3, 5]))] for _ in range(400)]
    assert len(set(map(tuple, answers))) < len(answers)
    assert_same_ranking(models[2], small_inputs(questions=2), answers, 1, "sum")


def test_an_empty_list_or_answer_is_refused():
    nothing = {"input_ids": torch.zeros(0, 3, dtype=torch.long), "attention_mask": torch.zeros(0, 3)}
    alone = {"input_ids": torch.tensor([[101, 5], [101, 0]]), "attention_mask": torch.tensor([[1, 1], [1, 0]])}
    for answers in (nothing, alone):
        with pytest.raises(ValueError, match=r"at least one token after .*there must be one candidate"):
            candidate_tokens(answers)
