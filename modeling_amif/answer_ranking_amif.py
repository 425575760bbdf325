"""Ranking candidate answers by log-likelihood (supplement 6 of arXiv 2510.08791), each token counted once.

An answer is "[CLS] a1 .. an [SEP]"; its score is log p(a1) + .. + log p(an) + log p([SEP]). The decoder reads [CLS]
once per question; keys and values of the question's states are computed then and shared by all candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.utils.generic import ModelOutput

from .encoders_amif import cache_option
from .input_checks_amif import check_finite
from .model_outputs_amif import ALWAYS_SET

CANDIDATES_PER_PASS = 128


@dataclass
class AmifRankingOutput(ModelOutput):
    """The best candidates of each question.

    Args:
        indices: (B, top_k) int64, positions in the list of candidates, best first; -1 where a question has no more
            candidates of its own.
        scores: (B, top_k) float32, their log-likelihoods (nats), divided by the number of tokens for score="mean";
            minus infinity for index -1.
    """

    indices: torch.Tensor = ALWAYS_SET
    scores: torch.Tensor = ALWAYS_SET


def candidate_tokens(answers: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The tokens of encoded answers that are scored: (N, T) int64, a1 .. an [SEP] without the leading [CLS], then -1.

    Raises:
        ValueError: If there are no answers, or one has no token after [CLS].
    """
    valid = answers["attention_mask"][:, 1:].bool()
    if not len(valid) or not valid.any(dim=1).all():
        raise ValueError("Every candidate needs at least one token after [CLS], and there must be one candidate.")
    return answers["input_ids"][:, 1:].long().masked_fill(~valid, -1)


class AnswerScorer:
    """The decoder over a batch of questions, with what all candidates share computed once.

    Args:
        decoder: Causal language model with cross-attention.
        states: What the decoder reads, (B, s, decoder width).
        mask: (B, s), 1 where a state is valid.
        start_token_id: The token that opens every answer.
    """

    def __init__(self, decoder: PreTrainedModel, states: torch.Tensor, mask: torch.Tensor, start_token_id: int) -> None:
        self.decoder, self.states, self.mask = decoder, states, mask
        self.head = decoder.get_submodule("cls" if hasattr(decoder, "cls") else "lm_head")
        self.cache = EncoderDecoderCache(DynamicCache(config=decoder.config), DynamicCache(config=decoder.config))
        start = torch.full((len(states), 1), start_token_id, device=states.device)
        hidden = self._read(start, states, mask, self.cache)
        self.first_log_probs = self.log_probs(hidden[:, 0])  # (B, vocabulary)

    def continuations(self, questions: list[int], prefixes: list[list[int]]) -> list[torch.Tensor]:
        """Log-probabilities of the tokens that follow each position of each prefix.

        Args:
            questions: The question of each prefix, n of them.
            prefixes: Token ids after [CLS], each at least one token long.

        Returns:
            For each prefix (its length, vocabulary), float32.
        """
        lengths = torch.tensor([len(prefix) for prefix in prefixes])
        ids = torch.zeros(len(prefixes), int(lengths.max()), dtype=torch.long)
        for row, prefix in enumerate(prefixes):
            ids[row, : len(prefix)] = torch.tensor(prefix)
        rows = torch.tensor(questions, device=self.states.device)
        halves = (self.cache.self_attention_cache, self.cache.cross_attention_cache)
        cache = EncoderDecoderCache(*(_cache_rows(half, rows, self.decoder.config) for half in halves))
        # Padding stands at the end, where the causal mask hides it, and is dropped before the costly output layer.
        hidden = self._read(ids.to(self.states.device), _rows(self.states, rows), _rows(self.mask, rows), cache)
        valid = torch.arange(ids.shape[1]) < lengths[:, None]
        return list(self.log_probs(hidden[valid.to(hidden.device)]).split(lengths.tolist()))

    def read_tree(self, ids: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Read tokens that need not follow each other; their keys and values stay in the cache.

        Args:
            ids: (B, n) int64 tokens.
            positions: (B, n) int64, the position that each has in its answer.
            visible: (B, n, cached + n) bool, which of the cached tokens ([CLS] is the first) and of these each sees.

        Returns:
            Decoder states (B, n, width).
        """
        mask = visible.unsqueeze(1).to(self.states.device)
        if self.decoder.config._attn_implementation == "eager":
            hidden = torch.finfo(self.states.dtype).min
            mask = torch.zeros_like(mask, dtype=self.states.dtype).masked_fill(~mask, hidden)
        return self._read(
            ids.to(self.states.device),
            self.states,
            self.mask,
            self.cache,
            attention_mask=mask,
            position_ids=positions.to(self.states.device),
        )

    def forget(self, tokens: int) -> None:
        """Drop so many of the tokens that were read last from the cache."""
        self.cache.crop(-tokens)

    def select(self, rows: torch.Tensor) -> None:
        """Keep these questions only."""
        self.states, self.mask = self.states[rows], self.mask[rows]
        self.cache.batch_select_indices(rows)

    def _read(
        self,
        ids: torch.Tensor,
        states: torch.Tensor,
        mask: torch.Tensor,
        cache: EncoderDecoderCache,
        **options: torch.Tensor,
    ) -> torch.Tensor:
        output = self.decoder.base_model(
            input_ids=ids,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=True,
            **cache_option(self.decoder, cache),
            **options,
        )
        return output.last_hidden_state

    def log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (..., vocabulary), float32, of the token after each decoder state (..., width).

        Raises:
            ValueError: If one is not finite: comparisons with NaN would drop candidates without a word.
        """
        log_probs = self.head(hidden).float().log_softmax(dim=-1)
        check_finite(log_probs, "scores", self.decoder)
        return log_probs

    def token_log_probs(self, hidden: torch.Tensor, places: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
        """Log-probabilities (m,), float32, of m tokens, each after the state at its place of `hidden` (n, width).

        Other tokens' are not made: of few tokens in a large vocabulary, writing all costs more than the output layer.

        Raises:
            ValueError: As `log_probs`.
        """
        logits = self.head(hidden).float()
        asked, highest = logits[places, tokens], logits.amax(dim=-1)
        normalisers = logits.sub_(highest.unsqueeze(1)).exp_().sum(dim=-1).log() + highest  # in place: logits are large
        log_probs = asked - normalisers[places]
        check_finite(log_probs, "scores", self.decoder)
        return log_probs


def rank_exhaustively(
    scorer: AnswerScorer,
    candidates: torch.Tensor,
    top_k: int,
    score: str,
    own: Sequence[Sequence[int]] | None = None,
) -> AmifRankingOutput:
    """Score every candidate for every question, or each question's own; ties keep the candidates' order.

    Args:
        scorer: The decoder over B questions.
        candidates: (N, T) int64, as of `candidate_tokens`.
        top_k: How many to return; at most all.
        score: "sum" or "mean" over an answer's tokens.
        own: The places of each question's candidates; None stands for all of them.
    """
    best, paths = [], [tuple(token for token in row if token >= 0) for row in candidates.tolist()]
    for question, places in enumerate(own or [range(len(paths))] * len(scorer.states)):
        answers = [paths[place] for place in places]
        # Equal candidates are scored once: two rows of one batch may differ in the last digit, and ties must not.
        distinct = {tokens: place for place, tokens in enumerate(dict.fromkeys(answers))}
        scores = _score_all(scorer, question, list(map(list, distinct)))[[distinct[one] for one in answers]]
        if score == "mean":
            scores = scores / torch.tensor([len(tokens) for tokens in answers])
        top = scores.sort(descending=True, stable=True)
        order = zip(top.indices[:top_k].tolist(), top.values[:top_k].tolist(), strict=True)
        best.append([(places[index], value) for index, value in order])
    return ranking_of(best, scorer.states.device)


def ranking_of(best: Sequence[Sequence[tuple[int, float]]], device: torch.device) -> AmifRankingOutput:
    """Candidates and scores of each question, best first, as tensors; -1 and minus infinity fill up shorter rows."""
    width = max(map(len, best))
    filled = [[*row, *[(-1, float("-inf"))] * (width - len(row))] for row in best]
    return AmifRankingOutput(
        indices=torch.tensor([[index for index, _ in row] for row in filled], device=device),
        scores=torch.tensor([[value for _, value in row] for row in filled], device=device),
    )


def _score_all(scorer: AnswerScorer, question: int, candidates: list[list[int]]) -> torch.Tensor:
    first = scorer.first_log_probs[question].cpu().double()
    scores = first[torch.tensor([tokens[0] for tokens in candidates])]
    longer = sorted((i for i, tokens in enumerate(candidates) if len(tokens) > 1), key=lambda i: len(candidates[i]))
    for start in range(0, len(longer), CANDIDATES_PER_PASS):
        chunk = longer[start : start + CANDIDATES_PER_PASS]
        following = scorer.continuations([question] * len(chunk), [candidates[i][:-1] for i in chunk])
        for i, log_probs in zip(chunk, following, strict=True):
            targets = torch.tensor(candidates[i][1:], device=log_probs.device).unsqueeze(1)
            scores[i] += log_probs.gather(1, targets).double().sum().cpu()
    return scores


def _rows(tensor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows of a tensor; a view instead of copies where all are the same row."""
    if (rows == rows[0]).all():
        return tensor[rows[0]].expand(len(rows), *tensor.shape[1:])
    return tensor.index_select(0, rows)


def _cache_rows(cache: Cache, rows: torch.Tensor, config: PreTrainedConfig) -> DynamicCache:
    selected = DynamicCache(config=config)
    # A cache's layers may be of any kind; those of BERT-like decoders grow token by token.
    layers = cast(list[DynamicLayer], cache.layers), cast(list[DynamicLayer], selected.layers)
    for old, new in zip(*layers, strict=True):
        if old.keys is not None and old.values is not None:
            new.lazy_initialization(old.keys, old.values)
            new.keys, new.values = _rows(old.keys, rows), _rows(old.values, rows)
    return selected
